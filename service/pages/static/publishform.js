// The end of an annotation: what still lacks, and the bank that is published.

import { explain, request } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { count } from "./format.js";
import { busily, send } from "./send.js";

let path = null;
let changed = null;

const some = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** What to know before publishing: {words, bad} where bad forbids it. */
function lacks({ panels, complete, stage, answers_per_panel: each }, { core, spurious, split, validated }) {
  const found = [];
  if (core + spurious < panels) found.push({ words: `${some(panels - core - spurious, "panel has", "panels have")} no answer yet.`, bad: true });
  if (complete < panels) found.push({ words: `${some(panels - complete, "panel lacks", "panels lack")} answers. Publishing takes ${each} on each; lower the answers per panel where fewer will do.` });
  if (split.length > 0) found.push({ words: `${some(split.length, "label hangs", "labels hang")} on one vote.` });
  if (stage !== "validation") found.push({ words: "No validation round was held: how far down masks may be believed is left at the class's top fifth, unchecked." });
  else if (validated !== null && validated.judged < Math.max(1, validated.rows)) found.push({ words: "The validation round is not over.", bad: true });
  return found;
}

function done({ name, version, digest }) {
  return [
    element("p", { class: "headline" }, element("b", {}, name), ` version ${version} is published`),
    element("p", {}, "Digest ", element("code", {}, digest)),
    element("p", {}, element("a", { class: "button", href: "/" }, "Try a picture"), " ", element("a", { class: "button quiet", href: "/jobs" }, "Start an audit")),
  ];
}

/** @param {Object} annotation as it is now
 *  @param {Object} results of the threshold in use */
export function showPublish(annotation, results) {
  const { published } = annotation;
  find("publish").hidden = published !== null;
  find("published").hidden = published === null;
  if (published !== null) {
    if (find("published").childElementCount === 0) find("published").replaceChildren(...done(published));
    return;
  }
  if (!find("bank-title").dataset.begun) {
    find("bank-title").value = annotation.title;
    find("bank-title").dataset.begun = "yes";
    if (annotation.bank !== null) stateAs(annotation.bank).catch((error) => showProblem(explain(error)));
  }
  const found = lacks(annotation, results);
  const list = [
    element("li", { class: "ok" }, `${some(results.core + results.spurious, "feature", "features")} labelled: ${results.core} core, ${results.spurious} spurious, at ${annotation.threshold} of ${annotation.answers_per_panel} votes.`),
    ...found.map(({ words, bad }) => element("li", { class: bad ? "bad" : "warning" }, words)),
  ];
  const text = list.map((item) => item.outerHTML).join("");
  if (find("lacks").innerHTML !== text) find("lacks").replaceChildren(...list);
  find("publish").querySelector('[type="submit"]').disabled = found.some(({ bad }) => bad);
}

/** A bank that is labelled again is called and licensed as it was, unless somebody types otherwise. */
async function stateAs(digest) {
  const { name, title, licence } = await request(`/v1/banks/${digest}`);
  for (const [id, value] of Object.entries({ name, "bank-title": title, licence })) find(id).value = value;
}

async function publish(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const wanted = Object.fromEntries([...form].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value !== ""));
  const made = await busily(event.target.querySelector('[type="submit"]'), () => send("POST", `${path}/publish`, wanted));
  if (!made) return;
  find("news").textContent = `${wanted.name} is published.`;
  changed();
}

/** Begin: `at` is the annotation's path; `onChange` is called when it is published. */
export function setUpPublish(at, onChange) {
  path = at;
  changed = onChange;
  find("publish").addEventListener("submit", publish);
}
