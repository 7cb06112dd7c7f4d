// The page of one annotation for its owner, kept up to date while it is looked at.

import { explain, request } from "./api.js";
import { element, find, showProblem } from "./dom.js";
import { count, duration, moment } from "./format.js";
import { showAgreement } from "./agreement.js";
import { setUpExchange } from "./exchange.js";
import { setUpInvitations, showInvitations } from "./invitations.js";
import { setUpPublish, showPublish } from "./publishform.js";
import { busily, send } from "./send.js";
import { resultsAt, setUpThreshold, showThreshold } from "./threshold.js";
import { setUpValidation, showValidation } from "./validationround.js";
import { setUpVotes, showCounts, showVotes } from "./votes.js";

const SECONDS = 2;
const PACE_SECONDS = 300; // the rate is that of the last five minutes
const STATES = { open: "running", closed: "", published: "succeeded" };

const path = `/v1/annotations/${location.pathname.split("/").pop()}`;
const pace = []; // [time, answers], as seen by this page
let annotation = null;
let results = null; // of the threshold in use
let unreachable = false;
let timer = null;

function head({ title, state, stage, draft, bank, created, answers_per_panel: each, threshold }) {
  document.title = `${title} · Labels · Cuecheck`;
  find("title").textContent = title;
  find("state").textContent = state === "open" && stage === "validation" ? "validation round" : state;
  find("state").className = `badge state ${STATES[state]}`;
  find("about").replaceChildren(
    `Every panel is asked of ${each === 1 ? "1 person" : `${each} people`}; spurious from ${threshold === 1 ? "1 vote" : `${threshold} votes`}. From `,
    bank ? "the bank " : "the ",
    bank ? element("code", { title: bank }, bank.slice(0, 12)) : element("a", { href: `/drafts/${draft}` }, "draft"),
    `, started ${moment(created)}.`,
  );
  find("each").hidden = state === "published";
  if (!find("each-panel").dataset.typed) {
    find("each-panel").value = each;
    find("each").querySelector('[type="submit"]').disabled = true;
  }
  find("toggle").textContent = state === "open" ? "Close for answers" : "Open again";
}

/** Answers a minute lately, and how long the rest takes at that. */
function paceWords({ answers, panels, complete, answers_per_panel: each }) {
  const now = performance.now() / 1000;
  pace.push([now, answers]);
  while (now - pace[0][0] > PACE_SECONDS) pace.shift();
  const [since, before] = pace[0];
  const rate = now > since ? (answers - before) / (now - since) : 0;
  if (rate <= 0 || complete === panels) return "";
  const left = Math.max(0, panels * each - answers);
  const minute = 60 * rate;
  return `${minute < 10 ? minute.toFixed(1) : count(Math.round(minute))} answers a minute · ${duration(left / rate)} left at this rate`;
}

function progress(one) {
  const { panels, complete, answers, annotators, stage } = one;
  find("complete").max = panels;
  find("complete").value = complete;
  find("complete").closest("section").classList.toggle("running", one.state === "open");
  find("counts").textContent = `${count(complete)} of ${count(panels)} panels have all their answers · ${count(panels - complete)} left · ${count(answers)} answers · ${annotators === 1 ? "1 annotator" : `${count(annotators)} annotators`}`;
  find("pace").textContent = paceWords(one);
  find("round").hidden = stage !== "validation";
  find("round").textContent = "The validation round is open: the links lead there now.";
}

async function refresh() {
  const now = await request(path);
  const fresh = JSON.stringify(now) !== JSON.stringify(annotation);
  annotation = now;
  head(now);
  progress(now);
  find("all").hidden = false;
  if (!fresh && now.stage !== "validation") return;
  const looked = await showThreshold(now, true);
  results = await resultsAt(now.threshold);
  showAgreement(results);
  showValidation(now, results);
  showPublish(now, results);
  if (looked !== null) showCounts(now, looked);
  await Promise.all([showInvitations(), showVotes()]);
}

async function watch() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      await refresh();
      if (unreachable) showProblem(null);
      unreachable = false;
    } catch (error) {
      showProblem(explain(error));
      unreachable = true;
      if (error.details?.status === 404) return;
    }
  }
  timer = setTimeout(watch, SECONDS * 1000);
}

async function lookAtThreshold() {
  try {
    showCounts(annotation, await resultsAt(Number(find("threshold").value)));
    await showVotes();
  } catch (error) {
    showProblem(explain(error));
  }
}

find("toggle").addEventListener("click", ({ target }) =>
  busily(target, () => send("PATCH", path, { state: annotation.state === "open" ? "closed" : "open" })).then(watch),
);
find("each-panel").addEventListener("input", ({ target }) => {
  target.dataset.typed = "yes";
  find("each").querySelector('[type="submit"]').disabled = Number(target.value) === annotation.answers_per_panel;
});
find("each").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = Number(find("each-panel").value);
  const fields = { answers_per_panel: wanted, threshold: Math.min(annotation.threshold, wanted) };
  if (await busily(event.submitter, () => send("PATCH", path, fields))) delete find("each-panel").dataset.typed;
  watch();
});
setUpValidation(path, watch);
setUpInvitations(path, watch);
setUpThreshold(path, lookAtThreshold, watch);
setUpVotes(path, watch);
setUpExchange(path, watch);
setUpPublish(path, watch);
document.addEventListener("visibilitychange", () => document.hidden || watch());
watch();
