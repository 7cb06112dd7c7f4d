// One job as an element: what it is about, how far it has come, and what can be done with it.

import { everything, explain, request } from "./api.js";
import { element, showProblem } from "./dom.js";
import { count, duration, moment } from "./format.js";

export const ACTIVE = new Set(["queued", "running"]);

const names = new Map(); // of classifiers, data sets and encoders, by id

/** What people call the thing with this id; the beginning of the id where that is not known. */
export const nameOf = (id) => names.get(id) || `${String(id).slice(0, 12)}…`;

/** An encoder by its id, or a bank whose network is one. */
export const encoderOf = (id) => (id.startsWith("bank:") ? `bank ${id.slice("bank:".length)}` : nameOf(id));

const KINDS = {
  audit: {
    title: (asked) => [nameOf(asked.classifier), " on ", nameOf(asked.dataset)],
    details: (asked) => `Bank ${asked.bank ?? "by default"}`,
    last: "writing the report",
    result: { label: "Report", of: (asked) => nameOf(asked.classifier), path: (id) => `/v1/audits/${id}/report` },
  },
  discovery: {
    title: (asked) => [encoderOf(asked.encoder), " over ", nameOf(asked.dataset)],
    details: (asked) => `Groups by ${GROUPINGS[asked.grouping] ?? asked.grouping}`,
    last: "drawing the panels",
    result: { label: "Draft", of: (asked) => encoderOf(asked.encoder), path: (id) => `/drafts/${id}` },
  },
  training: {
    title: (asked) => [asked.title || asked.name, " from ", nameOf(asked.dataset)],
    details: (asked) => `Route ${asked.route.replaceAll("_", " ")}`,
    last: "saving the encoder",
    result: null, // training.js shows what comes of it
  },
  export: {
    title: (asked) => ["Masks", " of ", nameOf(asked.dataset)],
    details: (asked) => `Bank ${asked.bank}, as ${asked.format}`,
    last: "ranking the pictures",
    result: { label: "Files", of: (asked) => nameOf(asked.dataset), path: (id) => `/exports/${id}` },
  },
  mitigation: {
    title: (asked) => [nameOf(asked.classifier), " mitigated with ", nameOf(asked.dataset)],
    details: (asked) => `${asked.method} with bank ${asked.bank}`,
    last: "comparing before and after",
    result: { label: "Report", of: (asked) => nameOf(asked.classifier), path: (id) => `/v1/mitigations/${id}/report` },
  },
  comparison: {
    title: (asked) => [`Audit ${nameOf(asked.audit)}`, " against ", nameOf(asked.baseline)],
    details: (asked) => `${count(2 + asked.with.length)} audits`,
    last: "reckoning the intervals",
    result: { label: "Comparison", of: (asked) => nameOf(asked.audit), path: (id) => `/v1/comparisons/${id}/report` },
  },
  validation: {
    title: (asked) => ["Validation round", " of annotation ", asked.annotation],
    details: (asked) => `${asked.pictures} pictures in each group`,
    last: "gathering the rows",
    result: { label: "Annotation", of: (asked) => asked.annotation, path: (id, asked) => `/annotations/${asked.annotation}` },
  },
};

const GROUPINGS = { predicted: "prediction", label: "label", both: "prediction and label" };

/** "meadow 2 on held-out.zip": what a job is about, in words. */
export const titleOf = ({ kind, request: asked }) => KINDS[kind].title(asked).join("");

function headingOf({ kind, state, request: asked }) {
  const [what, link, where] = KINDS[kind].title(asked);
  return element(
    "h2",
    {},
    element("b", {}, what),
    link,
    element("b", {}, where),
    " ",
    element("span", { class: "badge kind" }, kind),
    " ",
    element("span", { class: `badge state ${state}` }, state),
  );
}

function progressOf({ kind, state, done, total, rate, seconds_left: left }) {
  if (total === null || total === undefined) return [];
  const words = [`${count(done)} of ${count(total)} pictures`];
  if (state === "running" && rate) words.push(`${count(Math.round(rate))} a second`);
  if (state === "running" && left !== null && left !== undefined) {
    words.push(done < total ? `${duration(left)} left` : KINDS[kind].last);
  }
  return [
    state === "succeeded" ? null : element("progress", { max: total, value: done, "aria-label": "Pictures done" }),
    element("p", { class: "numbers" }, words.join(" · ")),
  ];
}

function act(job, action, label, changed) {
  const send = async () => {
    try {
      changed(await request(`/v1/jobs/${job.id}/${action}`, { method: "POST" }));
      showProblem(null);
    } catch (error) {
      showProblem(explain(error));
    }
  };
  return element("button", { type: "button", class: "button quiet", "data-action": action, click: send }, label);
}

function actionOf(job, changed) {
  if (ACTIVE.has(job.state)) return act(job, "cancel", "Cancel", changed);
  if (job.state !== "succeeded") return act(job, "retry", "Retry", changed);
  const { result } = KINDS[job.kind];
  if (result === null) return null;
  const { label, of, path } = result;
  const about = `${label} on ${of(job.request)}`;
  return element("a", { class: "button", href: path(job.id, job.request), "data-action": "open", "aria-label": about }, label);
}

/**
 * What a job's card holds.
 * @param {Object} job its record
 * @param {function(Object): void} changed called with the record after it was cancelled or retried
 * @returns {Element[]}
 */
export function cardOf(job, changed) {
  const details = [KINDS[job.kind].details(job.request), `submitted ${moment(job.created)}`];
  if (job.finished) details.push(`ended ${moment(job.finished)}`);
  const body = [
    headingOf(job),
    element("p", { class: "muted" }, details.join(" · "), " · ", element("code", { title: job.id }, job.id.slice(0, 12))),
    ...progressOf(job),
    job.message ? element("p", { class: job.state === "failed" ? "problem" : "note" }, job.message) : null,
  ].filter((part) => part !== null);
  return [element("div", { class: job.state }, ...body), element("div", { class: "actions" }, actionOf(job, changed))];
}

/** Put a job's card into an item; what had the focus keeps it, and what others have put below the card stays. */
export function fill(item, job, changed) {
  const [about, actions] = item.children;
  const focused = actions?.contains(document.activeElement);
  about?.remove();
  actions?.remove();
  item.prepend(...cardOf(job, changed));
  if (focused) item.querySelector("[data-action]")?.focus();
}

/** Learn what the things that jobs work on are called; answers the lists, empty where this key may not see one. */
export async function learnNames() {
  const paths = ["/v1/classifiers", "/v1/datasets", "/v1/encoders"];
  const lists = await Promise.allSettled(paths.map(everything));
  const [classifiers, datasets, encoders] = lists.map(({ value }) => value ?? []);
  for (const { id, spec } of classifiers) names.set(id, [spec.name, spec.version].filter(Boolean).join(" "));
  for (const { id, name } of datasets) names.set(id, name);
  for (const { id, spec } of encoders) names.set(id, spec.title || spec.name);
  return { classifiers, datasets, encoders };
}
