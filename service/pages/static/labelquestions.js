// The three questions about a panel: what the red places show, how sure one is, and why.

import { element, find } from "./dom.js";
import { paintPanel } from "./panelview.js";

const KINDS = ["background", "separate_object", "main_object"];
const LEVELS = 5;

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value ?? null;

function choose(name, value) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) input.checked = input.value === String(value);
}

/** Put the focus into a group of radio buttons: on the chosen one, or the first. */
export function focusGroup(name) {
  const group = [...document.querySelectorAll(`input[name="${name}"]`)];
  (group.find((input) => input.checked) ?? group[0]).focus({ preventScroll: true });
}

export class LabelQuestions {
  /**
   * @param {Reasons} reasons
   * @param {function()} changed called when an answer was changed
   */
  constructor(reasons, changed) {
    this.reasons = reasons;
    this.field = find("reason");
    this.step = "kind"; // the question that a digit answers
    this.walk = null; // {picks, at, typed} while the arrow keys go through earlier reasons
    find("label-questions").addEventListener("input", () => {
      this.walk = null;
      this.offerPicks();
      changed();
    });
    for (const name of ["kind", "confidence"]) find(name).addEventListener("focusin", () => (this.step = name));
    this.field.addEventListener("keydown", (event) => this.keyInReason(event, changed));
    this.changed = changed;
  }

  /** Show a panel and an answer to it, whole, in part or none. */
  show(panel, values, open) {
    paintPanel(panel, open);
    find("main-object").textContent = `The class itself or a part of it: ${panel.task.class.name}.`;
    this.step = "kind";
    choose("kind", values?.kind ?? null);
    choose("confidence", values?.confidence ?? null);
    this.field.value = values?.reason ?? "";
    this.walk = null;
    this.offerPicks();
  }

  get values() {
    const confidence = chosen("confidence");
    return { kind: chosen("kind"), confidence: confidence === null ? null : Number(confidence), reason: this.field.value };
  }

  /** What is missing: the words for it and how to get there; null where the answer is whole. */
  get missing() {
    const { kind, confidence, reason } = this.values;
    if (kind === null) return { words: "Choose what the red places show.", focus: () => focusGroup("kind") };
    if (confidence === null) return { words: "Say how sure you are.", focus: () => focusGroup("confidence") };
    if (reason.trim() === "") return { words: "Write what you see in the red places, in a few words.", focus: () => this.field.focus() };
    return null;
  }

  /** The answer as it is sent. */
  get body() {
    return { ...this.values, reason: this.values.reason.trim() };
  }

  saved({ reason, kind }) {
    this.reasons.learn(reason, kind);
  }

  /** No answer has the focus at first: none is to be nearer than another. */
  focus() {
    find("class-name").focus({ preventScroll: true });
  }

  /** A key outside the text field; answers whether it was for these questions. */
  press(key) {
    const number = Number(key);
    if (this.step === "kind") {
      if (!(number >= 1 && number <= KINDS.length)) return false;
      choose("kind", KINDS[number - 1]);
      focusGroup("confidence");
    } else {
      if (!(number >= 1 && number <= LEVELS)) return false;
      choose("confidence", number);
      this.field.focus({ preventScroll: true });
    }
    this.offerPicks();
    this.changed();
    return true;
  }

  keyInReason(event, changed) {
    if (event.key === "Escape") return focusGroup("confidence");
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return undefined;
    this.walk ??= { picks: this.reasons.fitting(chosen("kind"), this.field.value), at: -1, typed: this.field.value };
    const { picks, typed } = this.walk;
    if (picks.length === 0) return undefined;
    event.preventDefault();
    this.walk.at = Math.max(-1, Math.min(picks.length - 1, this.walk.at + (event.key === "ArrowDown" ? 1 : -1)));
    this.field.value = this.walk.at < 0 ? typed : picks[this.walk.at];
    this.markPick();
    changed();
    return undefined;
  }

  markPick() {
    for (const [at, pick] of [...find("picks").children].entries()) {
      if (at === this.walk?.at) pick.dataset.taken = "";
      else delete pick.dataset.taken;
    }
  }

  offerPicks() {
    const picks = this.reasons.fitting(chosen("kind"), this.field.value);
    find("picks").hidden = picks.length === 0;
    find("picks").replaceChildren(
      ...picks.map((text) => element("button", { type: "button", class: "quick", click: () => this.take(text) }, text)),
    );
  }

  take(text) {
    this.field.value = text;
    this.offerPicks();
    this.changed();
    this.field.focus();
  }
}
