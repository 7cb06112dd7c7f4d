// The page "Jobs": what runs and what has run, kept up to date while it is looked at, and a form to start an audit.

import { everything, explain, idempotencyKey, request } from "./api.js";
import { element, find, offer, showProblem } from "./dom.js";
import { count, duration, moment } from "./format.js";

const ACTIVE = new Set(["queued", "running"]);
const SECONDS_WHEN_ACTIVE = 1;
const SECONDS_WHEN_IDLE = 5;

const names = new Map(); // of classifiers and data sets, by id
const shown = new Map(); // job id -> {job, item}
let next = null; // cursor of the page of older jobs
let unreachable = false;

const nameOf = (id) => names.get(id) || `${id.slice(0, 12)}…`;

function titleOf({ request: asked, state }) {
  const badge = element("span", { class: `badge state ${state}` }, state);
  return element(
    "h2",
    {},
    element("b", {}, nameOf(asked.classifier)),
    " on ",
    element("b", {}, nameOf(asked.dataset)),
    " ",
    badge,
  );
}

function progressOf({ state, done, total, rate, seconds_left: left }) {
  if (total === null || total === undefined) return [];
  const words = [`${count(done)} of ${count(total)} pictures`];
  if (state === "running" && rate) words.push(`${count(Math.round(rate))} a second`);
  if (state === "running" && left !== null && left !== undefined) {
    words.push(done < total ? `${duration(left)} left` : "writing the report");
  }
  return [
    state === "succeeded" ? null : element("progress", { max: total, value: done, "aria-label": "Pictures done" }),
    element("p", { class: "numbers" }, words.join(" · ")),
  ];
}

function act(job, action, label) {
  const send = async () => {
    try {
      put(await request(`/v1/jobs/${job.id}/${action}`, { method: "POST" }));
      showProblem(null);
    } catch (error) {
      showProblem(explain(error));
    }
  };
  return element("button", { type: "button", class: "button quiet", "data-action": action, click: send }, label);
}

function actionOf(job) {
  if (job.state === "succeeded") {
    const label = `Report on ${nameOf(job.request.classifier)}`;
    const path = `/v1/audits/${job.id}/report`;
    return element("a", { class: "button", href: path, "data-action": "report", "aria-label": label }, "Report");
  }
  return ACTIVE.has(job.state) ? act(job, "cancel", "Cancel") : act(job, "retry", "Retry");
}

function cardOf(job) {
  const details = [`Bank ${job.request.bank ?? "by default"}`, `submitted ${moment(job.created)}`];
  if (job.finished) details.push(`ended ${moment(job.finished)}`);
  const body = [
    titleOf(job),
    element("p", { class: "muted" }, details.join(" · "), " · ", element("code", { title: job.id }, job.id.slice(0, 12))),
    ...progressOf(job),
    job.message ? element("p", { class: job.state === "failed" ? "problem" : "note" }, job.message) : null,
  ].filter((part) => part !== null);
  return [element("div", { class: job.state }, ...body), element("div", { class: "actions" }, actionOf(job))];
}

/** Show a job as it is now; an unchanged one is left alone, and what had the focus keeps it. */
function put(job, place = (item) => find("jobs").append(item)) {
  const before = shown.get(job.id);
  if (before && JSON.stringify(before.job) === JSON.stringify(job)) return;
  const item = before?.item ?? element("li", { class: "job card", "data-job": job.id });
  const focused = item.contains(document.activeElement);
  item.replaceChildren(...cardOf(job));
  if (focused) item.querySelector("[data-action]").focus();
  if (!before) place(item);
  else if (before.job.state !== job.state) {
    find("news").textContent = `${nameOf(job.request.classifier)} on ${nameOf(job.request.dataset)}: ${job.state}`;
  }
  shown.set(job.id, { job, item });
}

/** The newest page, and whatever is under way on the older pages that have been opened. */
async function refresh() {
  const page = await request("/v1/jobs");
  if (shown.size === 0) next = page.next ?? null;
  const listed = new Set(page.items.map(({ id }) => id));
  const fresh = page.items.filter(({ id }) => !shown.has(id)).reverse();
  for (const job of fresh) put(job, (item) => find("jobs").prepend(item));
  page.items.forEach((job) => put(job));
  for (const { job } of [...shown.values()]) {
    if (!listed.has(job.id) && ACTIVE.has(job.state)) put(await request(`/v1/jobs/${job.id}`));
  }
  find("none").hidden = shown.size > 0;
  find("older").hidden = next === null;
}

async function openOlder() {
  try {
    const page = await request(`/v1/jobs?cursor=${encodeURIComponent(next)}`);
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

async function learnNames() {
  const [classifiers, datasets] = await Promise.all([everything("/v1/classifiers"), everything("/v1/datasets")]);
  for (const { id, spec } of classifiers) names.set(id, [spec.name, spec.version].filter(Boolean).join(" "));
  for (const { id, name } of datasets) names.set(id, name);
  return { classifiers, datasets };
}

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
    const job = await request("/v1/audits", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey() },
      body: JSON.stringify(asked),
    });
    put(job, (item) => find("jobs").prepend(item));
    find("none").hidden = true;
    showProblem(null);
    const { item } = shown.get(job.id);
    item.scrollIntoView({ block: "nearest" });
    item.querySelector("[data-action]").focus();
  } catch (error) {
    showProblem(explain(error));
  }
}

find("older").addEventListener("click", openOlder);
find("audit").addEventListener("submit", start);
find("start").addEventListener("toggle", () => prepareForm().catch((error) => showProblem(explain(error))));
document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
// Without names the list shows ids: it is no reason not to show it.
learnNames().catch(() => {}).finally(watch);
