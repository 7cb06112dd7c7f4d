// The page of one export: how far it is, what it wrote, and its files.

import { explain, request } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { bytes, count } from "./format.js";
import { ACTIVE, fill, learnNames } from "./jobcard.js";

const SECONDS = 1;

const id = location.pathname.split("/").pop();
const path = `/v1/exports/${id}`;
let next = null; // cursor of the files that are not shown yet

const WHAT = {
  "manifest.json": "what was written, from what, and what was left out",
  "rankings.json": "of each class the pictures of highest and of lowest spuriosity",
  "spuriosity.parquet": "how spurious every picture is",
  "request.json": "what was asked for",
  "plan.json": "how the pictures were cut into shards",
  masks: "masks",
  rows: "a row per mask: activation, rank, valid, label, votes",
  samples: "a row per picture",
};

const fileOf = ({ name, bytes: size, href }) =>
  element(
    "li",
    {},
    element("a", { href, download: name.replaceAll("/", "-") }, name),
    element("span", { class: "muted" }, ` ${bytes(size)} · ${WHAT[name] ?? WHAT[name.split("/")[0]] ?? ""}`),
  );

async function showFiles() {
  const page = await request(next === null ? `${path}/artefacts` : `${path}/artefacts?cursor=${encodeURIComponent(next)}`);
  find("files").append(...page.items.map(fileOf));
  next = page.next ?? null;
  find("further").hidden = next === null;
}

async function showWritten() {
  const { bank_name: bank, pictures, masked, masks, labels, skipped } = await request(`${path}/artefacts/manifest.json`);
  const byLabel = Object.entries(labels).map(([label, number]) => `${count(number)} ${label}`);
  const left = Object.entries(skipped).map(([reason, number]) => `${count(number)} ${reason.replaceAll("_", " ")}`);
  find("about").textContent =
    `${count(masks)} masks of bank ${bank} (${byLabel.join(", ")}) on ${count(masked)} of ${count(pictures)} pictures` +
    `${left.length > 0 ? `, left out: ${left.join(", ")}` : ""}.`;
}

async function watch() {
  let job;
  try {
    job = await request(path);
    fill(find("job"), job, watch);
    find("job").querySelector('[data-action="open"]')?.remove(); // it leads here
    showProblem(null);
    if (job.state === "succeeded") {
      await Promise.all([showWritten(), showFiles()]);
      find("left").hidden = false;
    }
  } catch (error) {
    showProblem(explain(error));
  }
  if (job === undefined || ACTIVE.has(job.state)) setTimeout(watch, SECONDS * 1000);
}

find("further").addEventListener("click", () => showFiles().catch((error) => showProblem(explain(error))));
learnNames().finally(watch);
