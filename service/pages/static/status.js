// The pill in the header: is the service ready, and on what does it run?

import { element, find } from "./dom.js";

const SECONDS = 15;

async function look() {
  const pill = find("status");
  let state = "down";
  let text = "Not reachable";
  try {
    const response = await fetch("/readyz");
    const health = await response.json();
    state = response.ok ? "ready" : "starting";
    const devices = new Set(health.workers.map(({ device }) => device.toUpperCase()));
    text = response.ok ? ["Ready", ...devices].join(" · ") : "Not ready yet";
  } catch {
    // The service is not there: the pill says so.
  }
  if (pill.dataset.state === state && pill.textContent === text) return;
  pill.dataset.state = state;
  pill.replaceChildren(element("span", { class: "dot", "aria-hidden": "true" }), text);
}

look();
setInterval(() => document.hidden || look(), SECONDS * 1000);
