// Changes sent to the service as JSON, each safe to send twice, with what went wrong shown on the page.

import { explain, idempotencyKey, request } from "./api.js";
import { showProblem } from "./dom.js";

/** Send a change; answers what came back. */
export const send = (method, path, body) =>
  request(path, {
    method,
    headers: { "Content-Type": "application/json", ...(method === "POST" ? { "Idempotency-Key": idempotencyKey() } : {}) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });

/** Do something while a button cannot be pressed again; answers whether it went well. */
export async function busily(button, act) {
  button.disabled = true;
  try {
    await act();
    showProblem(null);
    return true;
  } catch (error) {
    showProblem(explain(error));
    return false;
  } finally {
    button.disabled = false;
  }
}
