// What a training has come to, below its job: accuracies by epoch, plotted and listed, and at its end the encoder.

import { request } from "./api.js";
import { element } from "./dom.js";
import { count, duration, tenths } from "./format.js";

const PLOT = { width: 640, height: 400 };
const HEADS = ["Epoch", "Clean", "Robust", "Training", "Loss", "Time"];

const pathOf = ({ id }, name) => `/v1/trainings/${id}/artefacts/${name}`;

/** A file of the training, or null: not every one is there yet, and that the service is gone the list says. */
const read = (job, name) => request(pathOf(job, name)).catch(() => null);

/** Show in the job's item what there is by now; called again whenever the job has changed. */
export async function showTraining(item, job) {
  const [kept, result] = await Promise.all([
    job.request.route === "adversarial" ? read(job, "epochs.json") : null,
    job.state === "succeeded" ? read(job, "training.json") : null,
  ]);
  const epochs = kept?.epochs ?? [];
  if (epochs.length === 0 && result === null) return;
  const place = item.querySelector(".training") ?? item.appendChild(emptyPlace());
  if (epochs.length > Number(place.dataset.epochs ?? 0)) {
    place.dataset.epochs = epochs.length; // an answer that comes late has fewer, and is not shown
    showEpochs(place, job, epochs, kept.attack);
  }
  if (result !== null && place.querySelector(".figures") === null) place.querySelector(".said").prepend(outcome(result));
}

const emptyPlace = () => element("section", { class: "training" }, element("div", { class: "said" }));

/** The plot and the table; what is there already is changed and not replaced, so that nothing jumps or loses the focus. */
function showEpochs(place, job, epochs, { norm, epsilon, steps }) {
  if (place.querySelector("figure") === null) {
    place.prepend(figureOf(job));
    place.querySelector(".said").append(listOf(job));
  }
  const latest = epochs.at(-1);
  const words = `Epoch ${count(latest.epoch)} of ${count(job.request.epochs)}: ${accuraciesOf(latest)}`;
  const plot = place.querySelector("img");
  plot.src = `${pathOf(job, "accuracy.png")}?epochs=${epochs.length}`;
  plot.alt = `Accuracy by epoch, plotted. ${words}`;
  place.querySelector(".latest").textContent = words;
  place.querySelector(".measured").textContent =
    `Robust: after an attack of ${steps} steps, ${norm} radius ${Number(epsilon.toPrecision(3))}. Training: on the attacked batches.`;
  place.querySelector("tbody").replaceChildren(...epochs.toReversed().map(row));
}

function accuraciesOf({ clean, robust, pictures }) {
  return `clean ${tenths(clean)}, robust ${tenths(robust)} of ${count(pictures)} held-out pictures.`;
}

function figureOf(job) {
  return element(
    "figure",
    {},
    element("img", { ...PLOT, decoding: "async" }),
    element(
      "figcaption",
      {},
      element("span", { class: "latest" }),
      " ",
      element("a", { href: pathOf(job, "epochs.json") }, "epochs.json"),
    ),
  );
}

function listOf(job) {
  return element(
    "details",
    {},
    element("summary", {}, "Epoch by epoch"),
    element("p", { class: "muted measured" }),
    element(
      "div",
      { class: "scroll", role: "region", "aria-label": `Epochs of ${job.request.title || job.request.name}`, tabindex: "0" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...HEADS.map((head) => element("th", { scope: "col", class: "number" }, head)))),
        element("tbody"),
      ),
    ),
  );
}

function row({ epoch, clean, robust, training, loss, seconds }) {
  const cells = [tenths(clean), tenths(robust), tenths(training), loss.toFixed(3), duration(seconds)];
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "number" }, count(epoch)),
    ...cells.map((cell) => element("td", { class: "number" }, cell)),
  );
}

function outcome({ encoder, accuracy }) {
  const figures = [
    ["Clean accuracy", `${tenths(accuracy.clean)} of ${count(accuracy.clean_pictures)}`],
    ["Robust accuracy", `${tenths(accuracy.robust)} of ${count(accuracy.robust_pictures)}`],
    ["Attack", accuracy.robust_attack],
    ["Encoder", element("a", { href: `/v1/encoders/${encoder}` }, element("code", {}, encoder))],
  ];
  return element(
    "dl",
    { class: "figures" },
    ...figures.map(([label, value]) => element("div", {}, element("dt", {}, label), element("dd", { class: "numbers" }, value))),
  );
}
