// The link by which an annotator was invited. Its token is kept on this device and leaves it in a header only.

import { request } from "./api.js";

const KEPT = "cuecheck.link";
const FORM = /^#(cci_[\w.-]+)$/;
const SECONDS = 20; // longest a request may take before it counts as lost
const REFUSED = new Set([401, 403, 410]);

/** Whether the service said that it does not, or no longer, take this link. */
export const isRefused = (problem) => REFUSED.has(problem.status);

/** Whether sending the same again may help: nobody answered, or a part of the service was away. */
export const mayPass = ({ status }) => status === undefined || status >= 500 || status === 408 || status === 429;

/** Take the token out of the address; without one there, the one used last. Null where there is none. */
export function takeToken() {
  const [, token] = FORM.exec(location.hash) ?? [];
  if (token === undefined) return recall();
  try {
    sessionStorage.setItem(KEPT, token);
    localStorage.setItem(KEPT, token);
  } catch {
    // This browser keeps nothing: the link has to be opened again after a reload.
  }
  history.replaceState(null, "", location.pathname);
  return token;
}

function recall() {
  try {
    return sessionStorage.getItem(KEPT) ?? localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** Requests of one annotator. Keys that the browser knows are left out: the link is all that counts. */
export class Link {
  /** @param {string} token */
  constructor(token) {
    this.token = token;
  }

  /** One request, as `request` of api.js. */
  ask(path, options = {}) {
    const headers = { ...options.headers, Authorization: `Bearer ${this.token}` };
    return request(path, { credentials: "omit", signal: AbortSignal.timeout(SECONDS * 1000), ...options, headers });
  }

  /** A picture as an address within this page. */
  async picture(href) {
    const headers = { Authorization: `Bearer ${this.token}` };
    const response = await fetch(href, { credentials: "omit", signal: AbortSignal.timeout(SECONDS * 1000), headers });
    if (!response.ok) throw new Error(`picture ${response.status}`);
    return URL.createObjectURL(await response.blob());
  }
}
