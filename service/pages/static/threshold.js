// The choice of the threshold: what each would make of the votes there are, shown while the slider moves.

import { request } from "./api.js";
import { element, find } from "./dom.js";
import { count } from "./format.js";
import { busily, send } from "./send.js";

let path = null; // of the annotation
let changed = null;
let annotation = null;
let known = new Map(); // threshold -> results, as of the answers there are
let asked = 0;

/** The threshold that the slider stands at. */
export const chosenThreshold = () => Number(find("threshold").value);

/** What the votes come to under a threshold. */
export function resultsAt(threshold) {
  if (!known.has(threshold)) {
    const made = request(`${path}/results?threshold=${threshold}`);
    known.set(threshold, made);
    made.catch(() => known.delete(threshold));
  }
  return known.get(threshold);
}

function bar({ core, spurious }) {
  const all = Math.max(1, core + spurious);
  const part = (name, number) => {
    const made = element("span", { class: `part ${name}` });
    made.style.setProperty("--share", number / all);
    return made;
  };
  return [
    element("p", { class: "numbers" }, element("b", { class: "core" }, `${count(core)} core`), " · ", element("b", { class: "spurious" }, `${count(spurious)} spurious`)),
    element("div", { class: "label-bar", "aria-hidden": "true" }, part("core", core), part("spurious", spurious)),
  ];
}

function changes(results, threshold) {
  if (threshold === annotation.threshold) return element("p", { class: "muted" }, "This is the threshold in use.");
  const number = results.changes.length;
  if (number === 0) return element("p", {}, "No label would change.");
  const words = number === 1 ? "1 label would change" : `${count(number)} labels would change`;
  const show = () => {
    document.querySelector('[data-filter="changed"]').click();
    find("panels-title").scrollIntoView({ block: "start" });
  };
  return element("p", {}, element("b", {}, words), " against the threshold in use. ", element("button", { type: "button", class: "linklike", click: show }, "Show them"));
}

async function draw() {
  const threshold = chosenThreshold();
  const turn = ++asked;
  find("chosen").textContent = `${threshold} of ${annotation.answers_per_panel}`;
  find("threshold").setAttribute("aria-valuetext", `${threshold} of ${annotation.answers_per_panel} votes`);
  find("keep").disabled = threshold === annotation.threshold || annotation.state === "published";
  const results = await resultsAt(threshold);
  if (turn !== asked) return null;
  find("labels").replaceChildren(...bar(results));
  find("changes").replaceChildren(changes(results, threshold));
  return results;
}

/** Show the annotation as it is now; `fresh` says that answers or the threshold have changed. */
export async function showThreshold(one, fresh) {
  const first = annotation === null;
  const followed = !first && chosenThreshold() === annotation.threshold;
  annotation = one;
  if (fresh) known = new Map();
  find("threshold").max = one.answers_per_panel;
  if (first || followed) find("threshold").value = one.threshold;
  return draw();
}

/** Begin: `at` is the annotation's path; `onMove` is called when another threshold is looked at, `onChange` when it is taken. */
export function setUpThreshold(at, onMove, onChange) {
  path = at;
  changed = onChange;
  find("threshold").addEventListener("input", () => draw().then(() => onMove(), () => {}));
  find("keep").addEventListener("click", async () => {
    const threshold = chosenThreshold();
    await busily(find("keep"), () => send("PATCH", path, { threshold }));
    find("news").textContent = `${threshold} votes make a feature spurious now.`;
    changed();
  });
}
