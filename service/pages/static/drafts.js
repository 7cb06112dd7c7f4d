// The page "Drafts": the discoveries that run and have run, and a form to start one.

import { explain, request } from "./api.js";
import { find, offer, showProblem } from "./dom.js";
import { count } from "./format.js";
import { learnNames, nameOf } from "./jobcard.js";
import { putFirst, watchJobs } from "./joblist.js";
import { send } from "./send.js";

const NUMBERS = ["channels", "components", "max_pictures"];
const FOUND_ANEW = ["grouping", "channels", "components"]; // what a bank's own rows leave nothing to choose of

let groupings = {}; // `bank:<name>` -> how its classes' groups were formed

async function prepareForm() {
  const [{ datasets, encoders }, { banks }] = await Promise.all([learnNames(), request("/v1/banks")]);
  offer(
    find("dataset"),
    datasets.map(({ id, pictures }) => ({ value: id, label: `${nameOf(id)} (${count(pictures)} pictures)` })),
  );
  offer(find("encoder"), [
    ...encoders.map(({ id }) => ({ value: id, label: nameOf(id) })),
    ...banks
      .filter(({ problem }) => !problem)
      .map(({ name, title }) => ({ value: `bank:${name}`, label: `The network of the bank ${title ?? name}` })),
  ]);
  groupings = Object.fromEntries(banks.map(({ name, grouping }) => [`bank:${name}`, grouping]));
  followEncoder();
  find("discovery").hidden = datasets.length === 0;
  find("uploads").hidden = datasets.length > 0;
}

/** Only a bank has rows to be labelled again; their groups are those it was labelled in. */
function followEncoder() {
  const again = find("again");
  again.disabled = !(find("encoder").value in groupings);
  if (again.disabled) again.checked = false;
  FOUND_ANEW.forEach((id) => (find(id).disabled = again.checked));
  if (again.checked) find("grouping").value = groupings[find("encoder").value];
}

async function start(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const asked = { dataset: form.get("dataset"), encoder: form.get("encoder"), grouping: find("grouping").value, again: find("again").checked };
  for (const name of NUMBERS) {
    if (form.get(name)) asked[name] = Number(form.get(name));
  }
  try {
    putFirst(await send("POST", "/v1/discoveries", asked));
    showProblem(null);
  } catch (error) {
    showProblem(explain(error));
  }
}

find("discovery").addEventListener("submit", start);
for (const id of ["encoder", "again"]) find(id).addEventListener("change", followEncoder);
find("start").addEventListener("toggle", () => prepareForm().catch((error) => showProblem(explain(error))));
// Without names the list shows ids: it is no reason not to show it.
learnNames().finally(() => watchJobs("/v1/discoveries"));
