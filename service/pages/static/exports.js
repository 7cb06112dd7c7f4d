// The page "Masks": the exports that run and have run, and a form to start one.

import { explain, request } from "./api.js";
import { find, offer, showProblem } from "./dom.js";
import { count } from "./format.js";
import { learnNames, nameOf } from "./jobcard.js";
import { putFirst, watchJobs } from "./joblist.js";
import { send } from "./send.js";

async function prepareForm() {
  const [{ datasets }, { default: usual, banks }] = await Promise.all([learnNames(), request("/v1/banks")]);
  offer(
    find("dataset"),
    datasets.map(({ id, pictures }) => ({ value: id, label: `${nameOf(id)} (${count(pictures)} pictures)` })),
  );
  offer(find("bank"), banks.filter(({ problem }) => !problem).map(({ name, title }) => ({ value: name, label: title ?? name })));
  find("bank").value = usual;
  find("export").hidden = datasets.length === 0;
  find("uploads").hidden = datasets.length > 0;
}

/** What a choice leaves nothing to say about cannot be filled in. */
function follow() {
  find("numbers").disabled = find("features").value !== "";
  find("share").disabled = find("validity").value !== "top";
  find("cut").disabled = find("format").value !== "rle";
  find("pictures").disabled = find("format").value !== "webdataset";
}

function wanted(form) {
  const asked = { dataset: form.get("dataset"), bank: form.get("bank"), format: form.get("format"), size: form.get("size") };
  asked.features = find("features").value || find("numbers").value.split(",").map(Number);
  asked.validity = find("share").disabled ? find("validity").value : `top:${Number(find("share").value) / 100}`;
  const classes = form.get("classes").split("\n").map((line) => line.trim()).filter(Boolean);
  if (classes.length > 0) asked.classes = classes;
  if (form.get("max_pictures")) asked.max_pictures = Number(form.get("max_pictures"));
  if (!find("cut").disabled) asked.threshold = Number(find("cut").value);
  if (!find("pictures").disabled) asked.pictures = find("pictures").checked;
  return asked;
}

async function start(event) {
  event.preventDefault();
  try {
    putFirst(await send("POST", "/v1/exports", wanted(new FormData(event.target))));
    showProblem(null);
  } catch (error) {
    showProblem(explain(error));
  }
}

find("export").addEventListener("submit", start);
for (const id of ["features", "validity", "format"]) find(id).addEventListener("change", follow);
find("start").addEventListener("toggle", () => prepareForm().catch((error) => showProblem(explain(error))));
follow();
// Without names the list shows ids: it is no reason not to show it.
learnNames().finally(() => watchJobs("/v1/exports"));
