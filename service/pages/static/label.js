// The page of an invited annotator: one panel after the other, by keyboard or by hand.

import { explain } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { count, moment } from "./format.js";
import { Kept } from "./kept.js";
import { LabelQuestions } from "./labelquestions.js";
import { Link, isRefused, takeToken } from "./link.js";
import { hush, say, sayNoLink, sayRefused } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Panels } from "./panels.js";
import { paintClass } from "./panelview.js";
import { Reasons } from "./reasons.js";
import { showSaved } from "./savedstate.js";
import { Stopwatch } from "./stopwatch.js";
import { ValidationQuestions } from "./validationquestions.js";
import { enlarge } from "./zoom.js";

const RETRY_SECONDS = 3;
const LOOK_AGAIN_SECONDS = 15;
const CONFLICT = 409; // closed by its owner, or between the rounds
const REMEMBERED = 200; // panels that one can go back to without asking the service

const token = takeToken();
const link = new Link(token);
const [, annotation, invitation] = String(token).split("_");
const kept = new Kept(annotation, invitation);
const watch = new Stopwatch(kept);
const given = new Set(); // panels answered here
const arrived = new Set(); // panels whose answer the service is known to have
const outbox = new Outbox(link, kept, { changed: tell, acknowledged, rejected });
const panels = new Panels(link, (panel) => given.has(panel) || outbox.of(pathOf(panel))?.method === "PUT");
const labels = new LabelQuestions(new Reasons(kept), keepDraft);
const validation = new ValidationQuestions(keepDraft);

let session = null; // what the service says of this link
let stage = null; // the round: labels or validation
let questions = labels; // those of the panel that is shown
let current = null; // the panel that is shown
let turn = 0; // counts what was asked for: answers that come late are not shown
let later = null; // timer of the next attempt

/** Where an answer to a panel is sent in this round. */
const pathOf = (panel) => `/v1/label/${stage === "validation" ? "validations" : "answers"}/${encodeURIComponent(panel)}`;

/** Panels answered on this device in this round, the latest last. */
const history = () => kept.get(`history.${stage}`) ?? [];

const draftName = () => `draft.${stage}`;

const remember = (answered) => kept.set(`history.${stage}`, answered.slice(-REMEMBERED));

/** Take in what the service says of this link; in another round nothing that was known of panels counts. */
function learn(told) {
  session = told;
  if (told.stage === stage) return;
  stage = told.stage;
  document.body.dataset.stage = stage;
  questions = stage === "validation" ? validation : labels;
  for (const [name, shown] of [["label-questions", labels], ["validation-questions", validation], ["help-labels", labels], ["help-validation", validation]]) {
    find(name).hidden = shown !== questions;
  }
  given.clear();
  arrived.clear();
  panels.forget();
}

function keepDraft() {
  if (current === null) return;
  kept.set(draftName(), { panel: current.task.panel, values: questions.values });
  if (questions.missing === null) find("missing").textContent = "";
}

/** How far one is, counting what waits to be sent, and whether all has arrived. */
function tell() {
  if (session === null) return;
  const ofRound = outbox.items.filter(({ panel, path }) => path === pathOf(panel));
  const changes = ofRound.map(({ panel, method }) => (method === "PUT" ? 1 : 0) - (arrived.has(panel) ? 1 : 0));
  const all = session.done + session.left;
  const done = Math.max(0, Math.min(all, session.done + changes.reduce((sum, one) => sum + one, 0)));
  find("reach").max = Math.max(1, all);
  find("reach").value = done;
  find("reached").textContent = `${count(done)} of ${count(all)} · ${count(all - done)} left`;
  showSaved(outbox);
  if (outbox.refused && outbox.problem) sayRefused(outbox.problem, outbox.items.length);
}

function acknowledged({ panel, method }, answer) {
  if (method === "PUT") arrived.add(panel);
  else arrived.delete(panel);
  if (answer) session = { ...session, done: answer.done, left: answer.left };
}

function rejected({ panel }, problem) {
  given.delete(panel);
  panels.forget();
  turnTo(askAgain).then(() => showProblem({ ...problem, title: `Your answer to panel ${panel} was not taken` }));
}

/** What the service says now of this link, and the next panel. */
async function askAgain() {
  learn(await link.ask("/v1/label"));
  tell();
  return panels.after(null);
}

/** An answer that the service told of is one it has; one given here may still wait. */
function noteArrived({ panel, mine }) {
  if (mine && !given.has(panel)) arrived.add(panel);
}

/** Show a panel; `values` is an answer to begin with, where not the one that was given or begun; `note` is said first. */
function show(panel, { values = null, note = "" } = {}) {
  current = panel;
  const { task } = panel;
  const draft = kept.get(draftName());
  const begun = draft?.panel === task.panel ? draft.values : null;
  noteArrived(task);
  find("missing").textContent = "";
  paintClass(panel);
  const answered = values ?? outbox.of(pathOf(task.panel))?.body ?? task.mine ?? null;
  questions.show(panel, values ?? begun ?? answered, enlarge);
  find("previous").disabled = before() === null;
  find("undo").disabled = before() === null;
  find("work").removeAttribute("aria-busy");
  hush();
  tell();
  watch.start(pathOf(task.panel), answered?.seconds ?? 0);
  questions.focus();
  scrollTo(0, 0);
  find("news").textContent = `${note}${task.class.name}, panel ${task.place} of ${task.of}${task.mine ? ", answered" : ""}`;
  document.title = `${task.class.name} · ${session.title} · Cuecheck`;
  panels.prefetch(task.panel);
}

/** Turn to what `load` gives: a panel, or null where none is left; `prepare` says how it is shown. */
async function turnTo(load, prepare = () => ({})) {
  const asked = ++turn;
  clearTimeout(later);
  find("work").setAttribute("aria-busy", "true");
  let panel;
  try {
    panel = await load();
  } catch (error) {
    if (asked === turn) holdOn(explain(error), () => turnTo(load, prepare));
    return;
  }
  if (asked !== turn) return;
  showProblem(null);
  if (panel === null) finish();
  else if (panel.task.stage !== stage) turnTo(askAgain);
  else show(panel, prepare(panel));
}

/** No panel can be shown now: say why, and try again. */
function holdOn(problem, again) {
  if (isRefused(problem)) {
    refuse(problem);
  } else if (problem.status === CONFLICT) {
    current = null;
    say("There is nothing to answer at the moment", [problem.detail, "This page goes on by itself as soon as there is."]);
    later = setTimeout(() => turnTo(askAgain), LOOK_AGAIN_SECONDS * 1000);
  } else {
    const waiting = outbox.items.length > 0 ? "Your answers are kept on this device until they have arrived." : "All your answers have arrived.";
    say(
      "The next panel comes when the service answers",
      ["It does not answer at the moment, or not as it should; this page tries again by itself.", waiting],
      [{ label: "Try again", press: again }],
    );
    later = setTimeout(again, RETRY_SECONDS * 1000);
  }
}

function refuse(problem) {
  outbox.refused = true;
  outbox.problem = problem;
  if (session !== null) showSaved(outbox);
  sayRefused(problem, outbox.items.length);
}

function finish() {
  current = null;
  find("work").removeAttribute("aria-busy");
  const words = stage === "validation" ? "You have looked at every row of this round." : "You have answered every panel that was yours.";
  const back = history().length > 0 ? [{ label: "Undo the last", press: undo, quiet: true }, { label: "Previous", press: goBack, quiet: true }] : [];
  say(`Thank you, ${session.annotator}`, [words, "You can close this page. If more is wanted of you, it shows up here."], back);
  find("news").textContent = "All done";
  later = setTimeout(lookAgain, LOOK_AGAIN_SECONDS * 1000);
}

/** Whether there is more to do than when all was done. */
async function lookAgain() {
  const asked = turn;
  try {
    const panel = await askAgain();
    if (asked !== turn) return;
    if (panel !== null) {
      show(panel);
      return;
    }
  } catch (error) {
    if (isRefused(explain(error))) {
      refuse(explain(error));
      return;
    }
  }
  if (asked === turn) later = setTimeout(lookAgain, LOOK_AGAIN_SECONDS * 1000);
}

const goOn = () => turnTo(() => panels.after(current?.task.panel ?? null));

/** Keep the answer, begin to send it, and turn to the next panel. */
function save() {
  if (current === null || find("work").hasAttribute("aria-busy")) return;
  const { missing } = questions;
  if (missing !== null) {
    find("missing").textContent = missing.words;
    missing.focus();
    return;
  }
  const { panel } = current.task;
  const body = { ...questions.body, seconds: Math.round(100 * watch.seconds) / 100 };
  watch.stop();
  given.add(panel);
  current.task.mine = body;
  remember([...history().filter((one) => one !== panel), panel]);
  kept.remove(draftName());
  outbox.add({ panel, path: pathOf(panel), method: "PUT", body });
  questions.saved(body);
  goOn();
}

/** The panel that was answered before the one that is shown, or null. */
function before() {
  const panel = current?.task.panel ?? null;
  const at = history().lastIndexOf(panel);
  if (at > 0) return history()[at - 1];
  if (at < 0 && history().length > 0) return history().at(-1);
  return current?.task.previous ?? null;
}

function keepPlace() {
  if (current !== null && !current.task.mine) panels.putBack(current);
}

/** Look at the answer before; it stays as it is until it is saved again. */
function goBack() {
  const panel = before();
  if (panel === null) return;
  keepPlace();
  turnTo(() => panels.named(panel));
}

/** Take the last answer back and show its panel, filled in as it was. */
function undo() {
  const panel = history().at(-1) ?? current?.task.previous ?? null;
  if (panel === null) return;
  keepPlace();
  turnTo(
    () => panels.named(panel),
    (found) => {
      const values = outbox.of(pathOf(panel))?.body ?? found.task.mine;
      remember(history().filter((one) => one !== panel));
      noteArrived(found.task);
      given.delete(panel);
      outbox.add({ panel, path: pathOf(panel), method: "DELETE" });
      found.task.mine = null;
      return { values, note: "Answer taken back. " };
    },
  );
}

const KEYS = { u: undo, Backspace: undo, p: goBack, n: goOn, z: () => find("panel").querySelector("button.tile")?.click() };

function press(event) {
  const { key, target } = event;
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || event.isComposing || find("zoom").open) return;
  const inText = target.closest("textarea, input[type='text']") !== null;
  if (key === "Enter") {
    if (event.shiftKey || (!inText && target.closest("button, summary, a") !== null)) return;
    event.preventDefault();
    if (!event.repeat) save();
    return;
  }
  if (inText) return;
  if (key in KEYS) {
    event.preventDefault();
    if (!event.repeat) KEYS[key]();
  } else if (current !== null && !event.repeat && questions.press(key)) event.preventDefault();
}

/** Ask what this link is for, until there is an answer. */
async function begin() {
  try {
    learn(await link.ask("/v1/label"));
  } catch (error) {
    const problem = explain(error);
    if (isRefused(problem)) {
      refuse(problem);
      return;
    }
    const waiting = outbox.items.length;
    say("The service does not answer", [
      "This page tries again by itself.",
      ...(waiting > 0 ? [`Answers kept on this device: ${waiting}. They are sent as soon as it answers.`] : []),
    ]);
    setTimeout(begin, RETRY_SECONDS * 1000);
    return;
  }
  find("title").textContent = session.title;
  find("annotator").replaceChildren(element("b", {}, session.annotator), ` · link valid until ${moment(session.expires)}`);
  find("progress").hidden = false;
  kept.adopt(session.annotator);
  tell();
  outbox.send();
  const draft = kept.get(draftName());
  turnTo(() => (draft === null ? panels.after(null) : resume(draft.panel)));
}

/** The panel that an answer was begun to; where it is not to be had any more, the next. */
async function resume(panel) {
  try {
    return await panels.named(panel);
  } catch (error) {
    if (explain(error).status !== 404) throw error;
    kept.remove(draftName());
    return panels.after(null);
  }
}

find("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
find("save").addEventListener("click", (event) => event.detail > 1 && event.preventDefault()); // the second of a double click
find("previous").addEventListener("click", goBack);
find("undo").addEventListener("click", undo);
find("next").addEventListener("click", goOn);
find("send").addEventListener("click", () => outbox.sendNow());
addEventListener("keydown", press);
addEventListener("hashchange", () => location.hash.startsWith("#cci_") && location.reload()); // another invitation
addEventListener("beforeunload", (event) => kept.fragile && outbox.items.length > 0 && event.preventDefault());

if (token === null) sayNoLink();
else begin();
