// The panels of an annotation with what people said of each; the owner chooses which are shown, and asks for more.

import { explain, request } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { count, duration } from "./format.js";
import { kindName, labelBadge, voteMarks } from "./kinds.js";
import { busily, send } from "./send.js";
import { chosenThreshold } from "./threshold.js";

const PAGE = 20;
const WORDS = {
  all: "All panels, by class and rank.",
  split: "One vote decides these: further answers settle them.",
  open: "These do not have all their answers yet.",
  changed: "The label of these depends on where the threshold stands.",
};

const items = new Map(); // panel -> {text, item}
let path = null; // of the annotation
let changed = null;
let filter = "all";
let next = null;
let asked = 0;

const query = (cursor, limit) => {
  const asked = new URLSearchParams({ filter, limit, threshold: chosenThreshold() });
  if (cursor !== null) asked.set("cursor", cursor);
  return `${path}/panels?${asked}`;
};

function answerRow({ annotator, kind, confidence, reason, seconds }) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, annotator),
    element("td", {}, element("span", { class: `vote ${kind}`, "aria-hidden": "true" }), " ", kindName(kind)),
    element("td", { class: "number", title: "confidence" }, confidence === null ? "–" : `${confidence} of 5`),
    element("td", { class: "said" }, reason),
    element("td", { class: "number muted" }, seconds === null || seconds === undefined ? "" : duration(seconds)),
  );
}

function enlarge(one) {
  find("zoom").replaceChildren(
    element("img", { src: one.panel_href, alt: `Panel of feature ${one.feature_index} of ${one.class_name}` }),
    element("p", {}, element("b", {}, one.class_name), ` · feature ${one.feature_index}`),
    element("button", { type: "button", class: "button quiet", click: () => find("zoom").close() }, "Close"),
  );
  find("zoom").showModal();
}

function contents(one) {
  const name = `feature ${one.feature_index} of ${one.class_name}`;
  const said = one.answers.length;
  return [
    element(
      "button",
      { type: "button", class: "picture", "aria-label": `Enlarge the panel of ${name}`, click: () => enlarge(one) },
      element("img", { src: one.panel_href, alt: "", loading: "lazy", decoding: "async" }),
    ),
    element(
      "div",
      { class: "told" },
      element(
        "h3",
        {},
        one.class_name,
        element("span", { class: "muted" }, ` · feature ${one.feature_index}, rank ${one.rank}`),
      ),
      element("p", { class: "marks" }, voteMarks(one.votes, one.wanted), labelBadge(one), one.split ? element("span", { class: "badge split" }, "split") : null),
      said > 0
        ? element(
            "details",
            {},
            element("summary", {}, said === 1 ? "1 answer" : `${said} answers`),
            element("div", { class: "scroll" }, element("table", { class: "answers" }, element("tbody", {}, ...one.answers.map(answerRow)))),
          )
        : element("p", { class: "muted" }, "No answers yet."),
    ),
    element("label", { class: "choose" }, element("input", { type: "checkbox", name: "panel", value: one.panel, "aria-label": `Choose ${name}` })),
  ];
}

/** Show a panel as it is now; one that has not changed is left alone, and what was opened or chosen stays so. */
function put(one) {
  const text = JSON.stringify(one);
  const before = items.get(one.panel);
  const item = before?.item ?? element("li", { class: "panel-votes", "data-panel": one.panel });
  if (before?.text !== text) {
    const chosen = item.querySelector('input[name="panel"]')?.checked ?? false;
    const open = item.querySelector("details")?.open ?? false;
    const focused = item.contains(document.activeElement) ? document.activeElement.tagName : null;
    item.replaceChildren(...contents(one));
    item.querySelector('input[name="panel"]').checked = chosen;
    if (open && item.querySelector("details")) item.querySelector("details").open = true;
    if (focused) item.querySelector(focused.toLowerCase())?.focus();
  }
  items.set(one.panel, { text, item });
  return item;
}

/** The panels that are shown, as they are now. */
export async function showVotes() {
  const turn = ++asked;
  const page = await request(query(null, Math.max(PAGE, Math.min(200, find("panels").childElementCount))));
  if (turn !== asked) return;
  const wanted = page.items.map(put);
  const list = find("panels");
  if (wanted.length !== list.childElementCount || wanted.some((item, at) => item !== list.children[at])) list.replaceChildren(...wanted);
  for (const panel of items.keys()) if (!items.get(panel).item.isConnected) items.delete(panel);
  next = page.next ?? null;
  tell();
}

async function showFurther() {
  try {
    const page = await request(query(next, PAGE));
    const from = find("panels").childElementCount;
    find("panels").append(...page.items.map(put));
    find("panels").children[from]?.querySelector("button").focus();
    next = page.next ?? null;
    tell();
  } catch (error) {
    showProblem(explain(error));
  }
}

const chosen = () => [...find("panels").querySelectorAll('input[name="panel"]:checked')].map(({ value }) => value);

function tell() {
  find("further").hidden = next === null;
  find("filter-words").textContent = find("panels").childElementCount > 0 ? WORDS[filter] : "There are none.";
  const number = chosen().length;
  const button = find("more").querySelector("button");
  button.disabled = number === 0;
  button.textContent = number === 0 ? "Ask for more" : `Ask for more on ${number === 1 ? "1 panel" : `${count(number)} panels`}`;
  find("every").checked = number > 0 && number === find("panels").childElementCount;
}

/** How many panels each filter has. */
export function showCounts({ panels }, results) {
  const numbers = { all: panels, split: results.split.length, open: results.open?.length ?? results.open, changed: results.changes.length };
  for (const button of document.querySelectorAll("[data-filter]")) {
    const number = numbers[button.dataset.filter];
    button.querySelector(".numbers").textContent = typeof number === "number" ? count(number) : "";
  }
}

function choose(button) {
  filter = button.dataset.filter;
  for (const one of document.querySelectorAll("[data-filter]")) one.setAttribute("aria-pressed", String(one === button));
  return showVotes().then(
    () => (find("news").textContent = `${find("panels").childElementCount} panels shown. ${find("filter-words").textContent}`),
    (error) => showProblem(explain(error)),
  );
}

async function askForMore(event) {
  event.preventDefault();
  const panels = chosen();
  const answers = Number(find("answers").value);
  const done = await busily(find("more").querySelector("button"), () => send("POST", `${path}/more`, { panels, answers }));
  if (!done) return;
  for (const input of find("panels").querySelectorAll("input:checked")) input.checked = false;
  find("news").textContent = `${answers} further answers are asked for on ${panels.length} panels.`;
  changed();
}

/** Begin: `at` is the annotation's path; `onChange` is called when more was asked for. */
export function setUpVotes(at, onChange) {
  path = at;
  changed = onChange;
  for (const button of document.querySelectorAll("[data-filter]")) button.addEventListener("click", () => choose(button));
  find("further").addEventListener("click", showFurther);
  find("panels").addEventListener("change", tell);
  find("every").addEventListener("change", ({ target }) => {
    for (const input of find("panels").querySelectorAll('input[name="panel"]')) input.checked = target.checked;
    tell();
  });
  find("more").addEventListener("submit", askForMore);
  find("zoom").addEventListener("click", (event) => event.target === find("zoom") && find("zoom").close());
}
