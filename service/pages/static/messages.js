// What the labelling page says in place of a panel: no link, a link that is not taken, all done, the service away.

import { element, find } from "./dom.js";

/** Show a message in place of the work; its actions are {label, press, quiet}. */
export function say(title, paragraphs, actions = []) {
  const place = find("message");
  const wasShown = !place.hidden && place.firstElementChild?.textContent === title;
  const buttons = actions.map(({ label, press, quiet }) =>
    element("button", { type: "button", class: quiet ? "button quiet" : "button", click: press }, label),
  );
  place.replaceChildren(
    element("h1", {}, title),
    ...paragraphs.map((words) => element("p", {}, words)),
    buttons.length > 0 ? element("div", { class: "turns" }, ...buttons) : "",
  );
  find("work").hidden = true;
  place.hidden = false;
  if (!wasShown) place.focus();
}

/** Back to the work. */
export function hush() {
  find("message").hidden = true;
  find("work").hidden = false;
}

export const sayNoLink = () =>
  say("Open the link of your invitation", [
    "This page is for people who were invited to label pictures. Each invitation is a link of its own; open yours, and this page begins where you left off.",
  ]);

/** @param {{detail: string}} problem why the link is not taken
 *  @param {number} waiting answers that have not arrived */
export function sayRefused(problem, waiting) {
  const kept = waiting === 1 ? "1 answer" : `${waiting} answers`;
  say("This link does not work any more", [
    problem.detail,
    "Everything that was saved before stays. Ask the person who invited you for a new link.",
    ...(waiting > 0 ? [`${kept} could not be sent and ${waiting === 1 ? "is" : "are"} kept on this device.`] : []),
  ]);
}
