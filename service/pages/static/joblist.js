// The list of jobs on a page, kept up to date while it is looked at.

import { explain, request } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { ACTIVE, fill, titleOf } from "./jobcard.js";
import { showTraining } from "./training.js";

const SECONDS_WHEN_ACTIVE = 1;
const SECONDS_WHEN_IDLE = 5;

const shown = new Map(); // job id -> {job, item}
let list = null; // path of the list: all jobs, or those of one kind
let next = null; // cursor of the page of older jobs
let unreachable = false;

/** Show a job as it is now; an unchanged one is left alone. */
function put(job, place = (item) => find("jobs").append(item)) {
  const before = shown.get(job.id);
  if (before && JSON.stringify(before.job) === JSON.stringify(job)) return;
  const item = before?.item ?? element("li", { class: "job card", "data-job": job.id });
  fill(item, job, put);
  if (job.kind === "training") showTraining(item, job);
  if (!before) place(item);
  else if (before.job.state !== job.state) find("news").textContent = `${titleOf(job)}: ${job.state}`;
  shown.set(job.id, { job, item });
}

/** Put a job that was just submitted on top, and the focus on what can be done with it. */
export function putFirst(job) {
  put(job, (item) => find("jobs").prepend(item));
  find("none").hidden = true;
  const { item } = shown.get(job.id);
  item.scrollIntoView({ block: "nearest" });
  item.querySelector("[data-action]").focus();
}

/** The newest page, and whatever is under way on the older pages that have been opened. */
async function refresh() {
  const page = await request(list);
  if (shown.size === 0) next = page.next ?? null;
  const listed = new Set(page.items.map(({ id }) => id));
  const fresh = page.items.filter(({ id }) => !shown.has(id)).reverse();
  for (const job of fresh) put(job, (item) => find("jobs").prepend(item));
  page.items.forEach((job) => put(job));
  for (const { job } of [...shown.values()]) {
    if (!listed.has(job.id) && ACTIVE.has(job.state)) put(await request(`${list}/${job.id}`));
  }
  find("none").hidden = shown.size > 0;
  find("older").hidden = next === null;
}

async function openOlder() {
  try {
    const page = await request(`${list}?cursor=${encodeURIComponent(next)}`);
    page.items.forEach((job) => put(job));
    next = page.next ?? null;
    find("older").hidden = next === null;
  } catch (error) {
    showProblem(explain(error));
  }
}

async function watch() {
  if (!document.hidden) {
    try {
      await refresh();
      if (unreachable) showProblem(null);
      unreachable = false;
    } catch (error) {
      showProblem(explain(error));
      unreachable = true;
    }
  }
  const active = [...shown.values()].some(({ job }) => ACTIVE.has(job.state));
  setTimeout(watch, (active && !unreachable ? SECONDS_WHEN_ACTIVE : SECONDS_WHEN_IDLE) * 1000);
}

/** Show the jobs at `path` from now on. */
export function watchJobs(path) {
  list = path;
  find("older").addEventListener("click", openOlder);
  document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
  watch();
}
