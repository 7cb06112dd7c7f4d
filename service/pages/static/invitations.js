// Who was invited to an annotation: links made, copied and revoked.

import { everything } from "./api.js";
import { element, find } from "./dom.js";
import { count, dayAndTime } from "./format.js";
import { busily, send } from "./send.js";

const COPIED_SECONDS = 2;

let root = null; // path of the annotation's invitations
let changed = null;

function validity({ expires, revoked }) {
  if (revoked) return element("span", { class: "badge state" }, "revoked");
  if (new Date(expires) <= new Date()) return element("span", { class: "badge state" }, "expired");
  const [day, time] = dayAndTime(expires).map((part) => element("span", { class: "numbers" }, part));
  return element("span", {}, day, " ", time);
}

function row(one) {
  const live = !one.revoked && new Date(one.expires) > new Date();
  const revoke = async ({ target }) => {
    const done = await busily(target, () => send("DELETE", `${root}/${one.id}`));
    if (!done) return;
    find("news").textContent = `The link of ${one.annotator} is revoked.`;
    await showInvitations();
    find("annotator").focus();
  };
  return element(
    "tr",
    { "data-invitation": one.id },
    element("th", { scope: "row" }, one.annotator),
    element("td", { class: "number" }, count(one.answers)),
    element("td", {}, validity(one)),
    element(
      "td",
      { class: "number" },
      live ? element("button", { type: "button", class: "button quiet small", "aria-label": `Revoke the link of ${one.annotator}`, click: revoke }, "Revoke") : null,
    ),
  );
}

/** The table as it is now. */
export async function showInvitations() {
  const all = await everything(root);
  const body = find("invitations").querySelector("tbody");
  const text = JSON.stringify(all);
  find("invitations").hidden = all.length === 0;
  find("nobody").hidden = all.length > 0;
  if (body.dataset.shown === text) return;
  const focused = document.activeElement.closest?.("[data-invitation]")?.dataset.invitation;
  body.replaceChildren(...all.map(row));
  body.dataset.shown = text;
  if (focused) body.querySelector(`[data-invitation="${focused}"] button`)?.focus();
}

async function invite(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  await busily(event.submitter ?? event.target.querySelector("button"), async () => {
    const made = await send("POST", root, { annotator: form.get("annotator").trim(), hours: Number(form.get("hours")) });
    find("link").querySelector("label").textContent = `The link of ${made.annotator}`;
    find("address").value = new URL(made.href, location.href).href;
    find("link").hidden = false;
    find("annotator").value = "";
    find("copy").focus();
    find("news").textContent = `${made.annotator} is invited. Copy the link.`;
    changed();
  });
}

async function copy() {
  find("address").select();
  let words = "Copied";
  try {
    await navigator.clipboard.writeText(find("address").value);
  } catch {
    if (!document.execCommand("copy")) words = "Press Ctrl+C"; // there is no clipboard without https or permission
  }
  find("copy").textContent = words;
  find("news").textContent = words;
  setTimeout(() => (find("copy").textContent = "Copy"), COPIED_SECONDS * 1000);
}

/** Begin: `path` of the annotation, and what to call after a change. */
export function setUpInvitations(path, onChange) {
  root = `${path}/invitations`;
  changed = onChange;
  find("invite").addEventListener("submit", invite);
  find("copy").addEventListener("click", copy);
}
