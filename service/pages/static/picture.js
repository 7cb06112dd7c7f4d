// The page "Try a picture": one picture, one class, its masks and what its score rests on.

import { everything, explain, Problem, request } from "./api.js";
import { element, find, offer, showProblem } from "./dom.js";
import { percent } from "./format.js";
import { layersOf, Overlay } from "./overlay.js";
import { reading } from "./reading.js";

const PREDICTED = "predicted";
const EXEMPLARS = 6;

const overlay = new Overlay(find("canvas"));
let file = null;
let alone = null; // the feature whose own mask is shown
let running = null; // aborts the request under way
let offered = null; // settled once the banks' classes stand in their list

function draw() {
  const blend = Number(find("blend").value);
  find("blend").setAttribute("aria-valuetext", `core ${100 - blend} %, spurious ${blend} %`);
  overlay.draw({ blend: blend / 100, alone, shown: find("shown").checked });
}

/** Show the mask of one feature, or with null those of all. */
function showAlone(feature) {
  alone = feature;
  for (const button of document.querySelectorAll("button[data-feature]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.feature) === alone));
  }
  find("alone").textContent = alone === null ? "" : `Only feature #${alone} is shown; move the slider to see all.`;
  draw();
}

function toggleAlone(feature) {
  showAlone(alone === feature ? null : feature);
  if (alone !== null) find("canvas").scrollIntoView({ block: "nearest" });
}

async function bitmapOf(picture) {
  try {
    return await createImageBitmap(picture);
  } catch {
    return null; // some formats are read by the service and not by browsers
  }
}

async function ask(picture, signal) {
  const form = new FormData();
  form.append("pictures", picture, picture.name);
  form.append("bank", find("bank").value);
  form.append("classes", find("class").value);
  form.append("features", "all");
  const answer = await request("/v1/masks", { method: "POST", body: form, signal });
  const [found] = answer.pictures;
  if (found.problem) throw new Problem(found.problem);
  return found;
}

/** Ask about the picture and the class chosen; whatever was asked before no longer matters. */
async function look() {
  if (file === null) return;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  document.body.setAttribute("aria-busy", "true");
  try {
    await offered; // a quick person chooses a picture while the lists still come
    if (signal.aborted) return;
    const [found, bitmap] = await Promise.all([ask(file, signal), bitmapOf(file)]);
    const [answer] = found.classes;
    const layers = await layersOf(answer.masks, answer.features);
    if (signal.aborted) return;
    overlay.set(bitmap, found, layers);
    show(found, answer);
    showProblem(null);
  } catch (error) {
    if (!signal.aborted) showProblem(explain(error));
  } finally {
    if (!signal.aborted) document.body.removeAttribute("aria-busy");
  }
}

function show(found, answer) {
  const name = found.name ?? "The picture";
  const notes = [`${name}, ${found.width} × ${found.height}`, ...(found.notes ?? [])];
  find("drop").hidden = true;
  find("figure").hidden = false;
  find("blending").hidden = false;
  find("blend").disabled = !answer.labelled;
  find("caption").textContent = notes.join(". ");
  find("canvas").setAttribute("aria-label", `${name} with the masks of ${answer.name}`);
  find("answer").replaceChildren(...reading(found.prediction, answer, toggleAlone));
  find("news").textContent = `${name}: ${found.prediction.name}, ${percent(found.prediction.probability)}`;
  showAlone(null);
}

function take(chosen) {
  if (!chosen) return;
  file = chosen;
  look();
}

async function offerClasses() {
  const bank = encodeURIComponent(find("bank").value);
  const classes = await everything(`/v1/banks/${bank}/classes`);
  offer(find("class"), [
    { value: PREDICTED, label: "The predicted one" },
    ...classes.map(({ index, name, core, spurious }) => ({
      value: index,
      label: core + spurious > 0 ? name : `${name} (no labelled features)`,
    })),
  ]);
  offerExemplars(bank, classes).catch((error) => showProblem(explain(error)));
}

/** A few of the bank's exemplar pictures, one of each class, for whoever has no picture at hand. */
async function offerExemplars(bank, classes) {
  const labelled = classes.filter(({ core, spurious }) => core + spurious > 0);
  const step = Math.max(1, Math.floor(labelled.length / EXEMPLARS));
  const some = labelled.filter((_, index) => index % step === 0).slice(0, EXEMPLARS);
  const found = await Promise.all(some.map(({ index }) => request(`/v1/banks/${bank}/classes/${index}/features`)));
  const pictures = found.flatMap(({ name, features }) => {
    const exemplar = features.flatMap(({ exemplars }) => exemplars).find(({ picture }) => picture);
    return exemplar ? [{ name, path: exemplar.picture }] : [];
  });
  find("exemplars").replaceChildren(
    ...pictures.map(({ name, path }) =>
      element(
        "li",
        {},
        element(
          "button",
          { type: "button", class: "exemplar", click: () => takeFrom(path, name) },
          element("img", { src: path, alt: "", width: 72, height: 72, loading: "lazy" }),
          element("span", {}, name),
        ),
      ),
    ),
  );
  find("examples").hidden = pictures.length === 0;
}

async function takeFrom(path, name) {
  try {
    const response = await fetch(path);
    if (!response.ok) throw new Problem({ title: "The exemplar is not there", detail: `${path}: ${response.status}` });
    const blob = await response.blob();
    take(new File([blob], `${name}.jpg`, { type: blob.type }));
  } catch (error) {
    showProblem(explain(error));
  }
}

async function offerBanks() {
  const { default: chosen, banks } = await request("/v1/banks");
  const usable = banks.filter(({ problem }) => !problem);
  offer(find("bank"), usable.map(({ name, title }) => ({ value: name, label: title ?? name })));
  find("bank").value = chosen;
  await offerClasses();
}

/** Have readings wait until `lists`, a promise, have come. */
function waitFor(lists) {
  offered = lists;
  lists.catch((error) => showProblem(explain(error)));
}

function listen() {
  find("file").addEventListener("change", ({ target }) => {
    take(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  find("blend").addEventListener("input", () => showAlone(null));
  find("shown").addEventListener("change", draw);
  find("class").addEventListener("change", look);
  find("bank").addEventListener("change", () => {
    waitFor(offerClasses());
    look();
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (relatedTarget === null) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", ({ clipboardData }) => take(clipboardData.files[0]));
}

listen();
waitFor(offerBanks());
