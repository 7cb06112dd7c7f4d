// The second round for the owner: opening it, and how much of the bank it bears out.

import { element, find } from "./dom.js";
import { count, percent } from "./format.js";
import { busily, send } from "./send.js";

function figures({ share, low, high, validated, judged, rows }) {
  if (rows === 0) return [element("p", {}, "Its pictures are being drawn; the links ask about them as soon as they are there. ", element("a", { href: "/jobs" }, "Follow the job"))];
  const progress = [
    element("progress", { max: rows, value: judged, "aria-label": "Rows judged" }),
    element("p", { class: "numbers" }, `${count(judged)} of ${count(rows)} rows judged`),
  ];
  if (judged === 0) return progress;
  return [
    element("p", { class: "headline" }, element("b", { class: "numbers" }, percent(share)), ` validated, ${count(validated)} of ${count(judged)}`),
    ...progress,
    element("p", { class: "muted" }, `95 % interval ${percent(low)} to ${percent(high)}. Salient ImageNet as published: 95 %. A row that is not validated keeps its label; its masks are believed only on pictures as strong as those of its panel.`),
  ];
}

/** @param {Object} annotation as it is now
 *  @param {Object} results of the threshold in use */
export function showValidation({ stage, state, panels, complete }, { validated }) {
  find("validate").hidden = stage === "validation" || state === "published";
  find("validate").disabled = complete < panels || state !== "open";
  find("not-yet").hidden = find("validate").hidden || !find("validate").disabled;
  find("not-yet").textContent = state === "open" ? "It opens when every panel has its answers." : "The annotation is closed.";
  find("validated").classList.toggle("running", state === "open");
  const parts = validated ? figures(validated) : [];
  if (find("validated").innerHTML !== parts.map((part) => part.outerHTML).join("")) find("validated").replaceChildren(...parts);
}

/** Begin: `path` of the annotation, and what to call when the round was opened. */
export function setUpValidation(path, changed) {
  find("validate").addEventListener("click", async ({ target }) => {
    if (await busily(target, () => send("POST", `${path}/validation`, { annotators: null }))) find("news").textContent = "The validation round is open.";
    changed();
  });
}
