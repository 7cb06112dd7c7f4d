// The page "Labels": the annotations there are, and a form to start one from a draft.

import { everything, explain, request } from "./api.js";
import { element, find, offer, showProblem } from "./dom.js";
import { count, moment } from "./format.js";
import { learnNames, titleOf } from "./jobcard.js";
import { send } from "./send.js";

const SECONDS = 5;
const asked = new URLSearchParams(location.search).get("draft"); // a draft's page leads here

const items = new Map(); // id -> {one, item}
let next = null;

function contents({ id, title, state, stage, panels, complete, answers, answers_per_panel: each, annotators, created, published }) {
  const now = published ? `${published.name}, version ${published.version}` : stage === "validation" && state === "open" ? "validation" : state;
  const people = annotators === 1 ? "1 annotator" : `${count(annotators)} annotators`;
  return [
    element(
      "div",
      { class: state === "open" ? "running" : "" },
      element("h2", {}, element("b", {}, title), " ", element("span", { class: `badge state ${stateClass(state)}` }, now)),
      element("p", { class: "muted" }, `${count(panels)} panels, ${each} answers each · ${people} · started ${moment(created)}`),
      element("progress", { max: panels, value: complete, "aria-label": `Panels of ${title} that have all answers` }),
      element("p", { class: "numbers" }, `${count(answers)} answers · ${count(complete)} of ${count(panels)} panels complete`),
    ),
    element(
      "div",
      { class: "actions" },
      element("a", { class: "button", href: `/annotations/${id}`, "aria-label": `Open ${title}` }, "Open"),
      ...(published ? [labelAgain(published, title)] : []),
    ),
  ];
}

/** The way to the bank's next version: a session that begins with its votes. */
function labelAgain({ digest }, title) {
  const button = element("button", { class: "button quiet", type: "button", "aria-label": `Label ${title} again` }, "Label again");
  button.addEventListener("click", () => begin({ bank: digest }));
  return button;
}

const stateClass = (state) => ({ open: "running", published: "succeeded" })[state] ?? "";

function put(one, place) {
  const before = items.get(one.id);
  if (before && JSON.stringify(before.one) === JSON.stringify(one)) return;
  const item = before?.item ?? element("li", { class: "job card", "data-annotation": one.id });
  const focused = item.contains(document.activeElement);
  item.replaceChildren(...contents(one));
  if (focused) item.querySelector("a").focus();
  if (!before) place(item);
  items.set(one.id, { one, item });
}

async function refresh() {
  const page = await request("/v1/annotations");
  if (items.size === 0) next = page.next ?? null;
  const fresh = page.items.filter(({ id }) => !items.has(id)).reverse();
  const first = items.size === 0;
  for (const one of first ? page.items : fresh) put(one, (item) => (first ? find("list").append(item) : find("list").prepend(item)));
  page.items.forEach((one) => put(one));
  find("none").hidden = items.size > 0;
  find("older").hidden = next === null;
}

async function watch() {
  if (!document.hidden) await refresh().catch((error) => showProblem(explain(error)));
  setTimeout(watch, SECONDS * 1000);
}

async function openOlder() {
  try {
    const page = await request(`/v1/annotations?cursor=${encodeURIComponent(next)}`);
    page.items.forEach((one) => put(one, (item) => find("list").append(item)));
    next = page.next ?? null;
    find("older").hidden = next === null;
  } catch (error) {
    showProblem(explain(error));
  }
}

async function prepareForm() {
  const [jobs, { banks }] = await Promise.all([everything("/v1/discoveries"), request("/v1/banks"), learnNames()]);
  const drafts = jobs.filter(({ state }) => state === "succeeded");
  offer(find("draft"), drafts.map((job) => ({ value: job.id, label: `${titleOf(job)}, ${moment(job.created)}` })));
  offer(find("bank"), [
    { value: "", label: "no: label the draft's candidates" },
    ...banks.filter(({ problem }) => !problem).map(({ name, version }) => ({ value: name, label: `${name}, version ${version}` })),
  ]);
  if (asked !== null && drafts.some(({ id }) => id === asked)) find("draft").value = asked;
  find("annotation").hidden = drafts.length === 0;
  find("drafts").hidden = drafts.length > 0;
}

async function start(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const classes = form.get("classes").split("\n").map((line) => line.trim()).filter(Boolean);
  begin({
    draft: form.get("draft"),
    bank: form.get("bank") || null,
    title: form.get("title").trim(),
    answers_per_panel: Number(form.get("answers_per_panel")),
    threshold: Number(form.get("threshold")),
    classes: classes.length > 0 ? classes : null,
  });
}

async function begin(wanted) {
  try {
    location.assign(`/annotations/${(await send("POST", "/v1/annotations", wanted)).id}`);
  } catch (error) {
    showProblem(explain(error));
  }
}

/** A bank is labelled again as it was labelled, unless somebody chooses otherwise. */
async function followBank() {
  if (find("bank").value === "") return;
  const { provenance } = await request(`/v1/banks/${find("bank").value}`);
  if (provenance.of) find("answers").value = provenance.of;
  if (provenance.threshold) find("threshold").value = provenance.threshold;
  find("threshold").max = find("answers").value;
}

/** More than half, as long as nobody chose otherwise. */
function follow() {
  if (!find("threshold").dataset.chosen) find("threshold").value = Math.floor(Number(find("answers").value) / 2) + 1;
  find("threshold").max = find("answers").value;
}

find("answers").addEventListener("input", follow);
find("threshold").addEventListener("input", () => (find("threshold").dataset.chosen = "yes"));
find("bank").addEventListener("change", () => followBank().catch((error) => showProblem(explain(error))));
find("annotation").addEventListener("submit", start);
find("older").addEventListener("click", openOlder);
find("start").addEventListener("toggle", () => prepareForm().catch((error) => showProblem(explain(error))));
follow();
if (asked !== null) find("start").open = true;
watch();
