// The page "Jobs": what runs and what has run, and a form to start an audit.

import { explain, request } from "./api.js";
import { find, offer, showProblem } from "./dom.js";
import { count } from "./format.js";
import { learnNames, nameOf } from "./jobcard.js";
import { putFirst, watchJobs } from "./joblist.js";
import { send } from "./send.js";

async function prepareForm() {
  const [{ classifiers, datasets }, { default: usual, banks }] = await Promise.all([learnNames(), request("/v1/banks")]);
  offer(find("classifier"), classifiers.map(({ id }) => ({ value: id, label: nameOf(id) })));
  offer(
    find("dataset"),
    datasets.map(({ id, pictures }) => ({ value: id, label: `${nameOf(id)} (${count(pictures)} pictures)` })),
  );
  offer(find("bank"), banks.filter(({ problem }) => !problem).map(({ name, title }) => ({ value: name, label: title ?? name })));
  find("bank").value = usual;
  const ready = classifiers.length > 0 && datasets.length > 0;
  find("audit").hidden = !ready;
  find("uploads").hidden = ready;
}

async function start(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const asked = { classifier: form.get("classifier"), dataset: form.get("dataset"), bank: form.get("bank") };
  if (form.get("max_pictures")) asked.max_pictures = Number(form.get("max_pictures"));
  try {
    putFirst(await send("POST", "/v1/audits", asked));
    showProblem(null);
  } catch (error) {
    showProblem(explain(error));
  }
}

find("audit").addEventListener("submit", start);
find("start").addEventListener("toggle", () => prepareForm().catch((error) => showProblem(explain(error))));
// Without names the list shows ids: it is no reason not to show it.
learnNames().finally(() => watchJobs("/v1/jobs"));
