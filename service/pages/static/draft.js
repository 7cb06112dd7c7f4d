// The page of one draft: its classes, and of one class at a time what it is and the panels of its candidates.

import { explain, request } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { classView } from "./draftclass.js";
import { count, percent } from "./format.js";
import { ACTIVE, encoderOf, fill, learnNames, nameOf } from "./jobcard.js";

const SECONDS = 1;
const HASH = "#class=";

const id = location.pathname.split("/").pop();
const narrow = matchMedia("(max-width: 52rem)");
let draft = null;
let current = null; // the class that is shown, as the draft lists it
let wanted = 0; // counts what was asked for: answers that come late are not shown

const linkTo = ({ name }) => `${HASH}${encodeURIComponent(name)}`;

/** The class that an address names, or null. */
function classOf(hash) {
  if (!hash.startsWith(HASH)) return null;
  let key;
  try {
    key = decodeURIComponent(hash.slice(HASH.length));
  } catch {
    return null; // a broken address
  }
  const { classes } = draft;
  return classes.find(({ name }) => name === key) ?? classes.find(({ index }) => String(index) === key) ?? null;
}

/** The classes whose name has what is searched for. */
function matching() {
  const words = find("search").value.trim().toLowerCase();
  return draft.classes.filter(({ name }) => name.toLowerCase().includes(words));
}

function list() {
  const found = matching();
  find("list").replaceChildren(
    ...found.map((one) =>
      element(
        "li",
        {},
        element(
          "a",
          { href: linkTo(one), "aria-current": one === current ? "true" : null },
          element("span", { class: "name" }, one.name),
          element("span", { class: "muted number", title: `${one.candidates} candidates` }, one.candidates),
        ),
      ),
    ),
  );
  const all = draft.classes.length;
  find("matches").textContent = found.length === all ? `${count(all)} classes` : `${count(found.length)} of ${count(all)} classes`;
  find("list").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

/** Turn to the class `step` further on among those that match the search. */
function turn(step) {
  const found = matching();
  const place = found.indexOf(current);
  const next = place < 0 ? found[0] : found[place + step];
  if (next === undefined) return;
  const inList = find("list").contains(document.activeElement);
  history.replaceState(null, "", linkTo(next));
  show(next);
  if (inList) find("list").querySelector("[aria-current]")?.focus();
}

function place() {
  const found = matching();
  const at = found.indexOf(current);
  find("place").textContent = `${count(draft.classes.indexOf(current) + 1)} of ${count(draft.classes.length)}`;
  for (const [button, end, other] of [["previous", 0, "next"], ["next", found.length - 1, "previous"]]) {
    const focused = document.activeElement === find(button);
    find(button).disabled = at === end;
    if (focused && find(button).disabled) find(other).focus(); // a disabled button would lose it
  }
}

async function show(one) {
  const asked = ++wanted;
  current = one;
  list();
  place();
  find("shown").setAttribute("aria-busy", "true");
  try {
    const found = await request(`/v1/discoveries/${id}/draft/classes/${one.index}`);
    if (asked !== wanted) return;
    find("shown").replaceChildren(...classView(found, draft));
    find("news").textContent = `${one.name}, ${find("place").textContent}, ${one.candidates} candidates`;
    document.title = `${one.name} · Draft · Cuecheck`;
    if (narrow.matches) find("classes").open = false;
    if (find("class").getBoundingClientRect().top < 0) find("class").scrollIntoView({ block: "start" });
    showProblem(null);
  } catch (error) {
    if (asked === wanted) showProblem(explain(error));
  } finally {
    if (asked === wanted) find("shown").removeAttribute("aria-busy");
  }
}

/** Show the class that the address names; without one the first. An address that names none is left alone. */
function follow() {
  const one = classOf(location.hash);
  if (one !== null && one !== current) show(one);
}

function scrolls(target) {
  const region = target.closest(".scroll");
  return region !== null && region.scrollWidth > region.clientWidth;
}

function press(event) {
  const { key, target } = event;
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
  if (target.closest("input, select, textarea")) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  if (target.closest("#list")) Object.assign(steps, { ArrowUp: -1, ArrowDown: 1 });
  else if (scrolls(target)) return; // there they move the panel
  if (!(key in steps)) return;
  event.preventDefault();
  turn(steps[key]);
}

function about() {
  const { encoder, encoder_id: encoderId, dataset, pictures, accuracy, skipped } = draft;
  const parts = [
    `Encoder: ${encoder.title || encoder.name || encoderOf(encoderId)}.`,
    `Data set: ${nameOf(dataset)}, ${count(pictures)} pictures${accuracy === null ? "" : `, ${percent(accuracy)} of which it predicts as labelled`}.`,
  ];
  const left = Object.entries(skipped).map(([reason, number]) => `${count(number)} ${reason.replaceAll("_", " ")}`);
  if (left.length > 0) parts.push(`Left out: ${left.join(", ")}.`);
  find("about").textContent = parts.join(" ");
}

function begin() {
  about();
  find("job").hidden = true;
  find("annotate").hidden = false;
  find("annotate").firstElementChild.href = `/annotations?draft=${id}`;
  find("draft").hidden = false;
  find("classes").open = !narrow.matches;
  find("search").addEventListener("input", () => (list(), place()));
  find("previous").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  addEventListener("hashchange", follow);
  addEventListener("keydown", press);
  const first = classOf(location.hash) ?? draft.classes[0];
  if (first) show(first);
}

/** Show the job until it has ended, then its draft. */
async function open() {
  try {
    const job = await request(`/v1/discoveries/${id}`);
    showProblem(null);
    if (job.state === "succeeded") {
      draft = await request(`/v1/discoveries/${id}/draft`);
      return begin();
    }
    find("job").hidden = false;
    fill(find("job"), job, () => open());
    if (!ACTIVE.has(job.state)) return;
  } catch (error) {
    showProblem(explain(error));
    if (error.details?.status) return; // it was answered, with a refusal
  }
  setTimeout(open, SECONDS * 1000);
}

learnNames().finally(open);
