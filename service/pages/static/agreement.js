// How far people agree: Fleiss' kappa in figures and plain words, and each annotator beside the others.

import { element, find } from "./dom.js";
import { count, duration, figure, percent } from "./format.js";

// Landis and Koch, Biometrics 33 (1977); what each means for whoever has to rely on the labels.
const READINGS = [
  [0, "Worse than chance", "People answer as if they read the questions differently. Look at the split panels together before going on."],
  [0.2, "Slight agreement", "Little more than chance. Look at the split panels together, and ask again."],
  [0.4, "Fair agreement", "People often differ. The split panels show where, and further answers settle them."],
  [0.6, "Moderate agreement", "As far as the published Salient ImageNet labels. Worth asking for more on the split panels."],
  [0.8, "Substantial agreement", "People mostly see the same thing; the labels can be relied on."],
  [1, "Almost perfect agreement", "People see the same thing nearly everywhere."],
];

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function scale(kappa) {
  const marker = element("span", { class: "kappa-marker" });
  marker.style.setProperty("--at", `${100 * Math.max(0, Math.min(1, kappa))}%`);
  return element("div", { class: "kappa-scale", "aria-hidden": "true" }, marker, element("span", { class: "ends" }, element("span", {}, "chance"), element("span", {}, "all the same")));
}

function showKappa({ kappa, kappa_binary: binary }) {
  if (!isNumber(kappa)) {
    find("kappa").replaceChildren(element("p", { class: "muted" }, "Agreement is measured once two people have answered the same panels, and not all answers are the same."));
    return;
  }
  const [, title, words] = READINGS.find(([most]) => kappa <= most) ?? READINGS.at(-1);
  find("kappa").replaceChildren(
    element("p", { class: "headline" }, element("b", { class: "numbers" }, figure(kappa)), " ", title),
    scale(kappa),
    element("p", {}, words),
    element(
      "p",
      { class: "muted" },
      "Fleiss’ kappa over the three kinds: 0 is what chance would give, 1 all the same.",
      isNumber(binary) ? ` Main object or not: ${figure(binary)}.` : "",
      " Salient ImageNet as published: 0.51 and 0.60.",
    ),
  );
}

function row({ annotator, answers, agreement, median_seconds: seconds }) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, annotator),
    element("td", { class: "number" }, count(answers)),
    element("td", { class: "number" }, isNumber(agreement) ? percent(agreement) : "–"),
    element("td", { class: "number" }, isNumber(seconds) ? duration(seconds) : "–"),
  );
}

/** @param {Object} results as the service tells them */
export function showAgreement(results) {
  showKappa(results);
  find("annotators").hidden = results.annotators.length === 0;
  find("annotators").querySelector("tbody").replaceChildren(...results.annotators.map(row));
}
