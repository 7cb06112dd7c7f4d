// The second round: a row's pictures in three groups. Do the red places show the same thing, and where do they not?

import { element, find } from "./dom.js";
import { focusGroup } from "./labelquestions.js";
import { paint } from "./sheet.js";

const GROUPS = [
  ["highest", "Highest", "found most strongly"],
  ["middle", "Middle", "in between"],
  ["lowest", "Lowest", "weakest of those to be judged"],
];
const ROWS = ["Picture", "Heat map"];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }; // groups, pictures

const within = (value, places) => Math.max(0, Math.min(places - 1, value));

export class ValidationQuestions {
  /** @param {function()} changed called when an answer was changed */
  constructor(changed) {
    this.changed = changed;
    find("validation-questions").addEventListener("input", changed);
    find("panel").addEventListener("change", () => {
      this.count();
      changed();
    });
    find("panel").addEventListener("focusin", ({ target }) => this.reach(target));
  }

  /** Show a row and an answer to it, whole, in part or none. */
  show({ task, sheets }, values) {
    const ticked = new Set(values?.different ?? []);
    this.pictures = task.pictures;
    const places = Array.from({ length: task.pictures }, (_, place) => place);
    const groups = GROUPS.map(([name, title, words], at) => group(sheets[name], { title, words, places, first: at * task.pictures, ticked }));
    const shown = element("div", { class: "groups" }, ...groups);
    shown.style.setProperty("--most", task.pictures);
    find("panel").replaceChildren(shown);
    find("panel").dataset.panel = task.panel;
    for (const input of document.querySelectorAll('input[name="same"]')) input.checked = values?.same === (input.value === "true");
    this.count();
    this.reach(this.boxes[0]);
  }

  /** The tick boxes of all groups, one group after the other. */
  get boxes() {
    return [...find("panel").querySelectorAll(".judged input")];
  }

  /** Of all pictures the Tab key comes to the one that was reached last; the arrow keys go on from there. */
  reach(box) {
    for (const one of this.boxes) one.tabIndex = one === box ? 0 : -1;
  }

  /** Go to a picture's neighbour; first of all to the one that the Tab key comes to. */
  step([groups, pictures]) {
    const { boxes } = this;
    const at = boxes.indexOf(document.activeElement);
    if (at < 0) return boxes.find(({ tabIndex }) => tabIndex === 0).focus();
    const group = within(Math.floor(at / this.pictures) + groups, GROUPS.length);
    return boxes[group * this.pictures + within((at % this.pictures) + pictures, this.pictures)].focus();
  }

  count() {
    const ticked = this.values.different.length;
    const words = ticked === 1 ? "1 picture ticked as different." : `${ticked} pictures ticked as different.`;
    find("ticked").textContent = ticked === 0 ? "Tick every picture that shows something else." : words;
  }

  get values() {
    const same = document.querySelector('input[name="same"]:checked')?.value ?? null;
    const different = [...find("panel").querySelectorAll("input:checked")].map(({ value }) => Number(value));
    return { same: same === null ? null : same === "true", different };
  }

  get missing() {
    const { same } = this.values;
    return same === null ? { words: "Say whether they show the same thing.", focus: () => focusGroup("same") } : null;
  }

  get body() {
    return this.values;
  }

  saved() {}

  focus() {
    find("class-name").focus({ preventScroll: true });
  }

  /** A key outside any field; answers whether it was for this question. */
  press(key) {
    const focused = document.activeElement;
    if (key in STEPS) {
      if (focused.type === "radio") return false; // there the arrow keys choose
      this.step(STEPS[key]);
    } else if (key === "x") {
      if (!this.boxes.includes(focused)) return false;
      focused.click();
    } else if (key === "1" || key === "2") {
      const choice = document.querySelectorAll('input[name="same"]')[Number(key) - 1];
      choice.checked = true;
      find("news").textContent = choice.labels[0].querySelector("b").textContent; // the focus stays at the picture
      this.changed();
    } else return false;
    return true;
  }
}

/** One group; its pictures are counted on from `first`, through all groups. */
function group(sheet, { title, words, places, first, ticked }) {
  const pictures = places.map((column) => {
    const number = first + column;
    const box = { type: "checkbox", value: number, checked: ticked.has(number), "aria-keyshortcuts": "x", "aria-label": `${title} ${column + 1} shows something else` };
    const tiles = ROWS.slice(0, sheet.rows).map((_, row) => paint(element("span", { class: "tile" }), sheet, row, column));
    return element("label", { class: "judged" }, element("input", box), ...tiles);
  });
  const heading = element("h2", {}, title, " ", element("span", { class: "muted" }, words));
  return element("section", { class: "group", "aria-label": title }, heading, element("div", { class: "pictures" }, ...pictures));
}
