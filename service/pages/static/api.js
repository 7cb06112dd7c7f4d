// Requests to the service. Every failure is a Problem with the words of the service's problem details (RFC 9457).

export class Problem extends Error {
  /** @param {{title: string, detail: string, remedy?: string, instance?: string, status?: number}} details */
  constructor(details) {
    super(details.detail);
    this.details = details;
  }
}

/**
 * One request; answers the parsed JSON.
 * @param {string} path
 * @param {RequestInit} options
 */
export async function request(path, options = {}) {
  const headers = { Accept: "application/json, application/problem+json", ...options.headers };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The service does not answer", detail: "Check the connection; this page tries again." });
  }
  const body = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return body;
  throw new Problem(
    body?.detail ? body : { title: `The service answered ${response.status}`, detail: response.statusText || "No reason was given." },
  );
}

/** All items of a list that comes in pages. */
export async function everything(path) {
  const items = [];
  let next = null;
  do {
    const page = await request(next === null ? path : `${path}?cursor=${encodeURIComponent(next)}`);
    items.push(...page.items);
    next = page.next ?? null;
  } while (next !== null);
  return items;
}

/** A key that makes it safe to send the same POST again. */
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What to show for any error: a Problem's own words, or that this page failed. */
export function explain(error) {
  if (error instanceof Problem) return error.details;
  console.error(error);
  return { title: "This page failed", detail: String(error) };
}
