// What was found on one picture, as elements: the prediction, the sum that makes the score, the table of features.

import { element } from "./dom.js";
import { figure, percent, signed } from "./format.js";

const KINDS = {
  main_object: "main object",
  background: "background",
  separate_object: "separate object",
  ambiguous: "ambiguous",
};

/**
 * @param {Object} prediction of the picture
 * @param {Object} answer of the service about one class
 * @param {function(number): void} showAlone called with the feature whose mask is to be shown alone
 * @returns {Element[]}
 */
export function reading(prediction, answer, showAlone) {
  return [verdict(prediction, answer), sum(answer), features(answer, showAlone)].filter((part) => part !== null);
}

function verdict(prediction, answer) {
  const predicted = answer.index === prediction.index;
  return element(
    "section",
    { class: "card verdict" },
    element("p", { class: "muted" }, "Prediction"),
    element("p", { class: "prediction" }, element("b", {}, prediction.name), ` ${percent(prediction.probability)}`),
    predicted
      ? null
      : element("p", {}, "Shown is ", element("b", {}, answer.name), `, which gets ${percent(answer.probability)}.`),
    answer.labelled
      ? null
      : element("p", { class: "note" }, `Nobody has labelled features of ${answer.name}: it has no masks.`),
  );
}

/** A bar from the middle, to the right if positive; `most` is the size that fills its half. */
function bar(value, most, kind) {
  const made = element("span", { class: `bar-fill ${kind} ${value < 0 ? "negative" : "positive"}` });
  made.style.width = `${most > 0 ? (50 * Math.abs(value)) / most : 0}%`;
  return element("span", { class: "bar-track", "aria-hidden": "true" }, made);
}

function sum({ name, logit, bias, contributions }) {
  const parts = [
    ["Core features", contributions.core, "core"],
    ["Spurious features", contributions.spurious, "spurious"],
    ["Unlabelled features", contributions.unlabelled, "other"],
    ["Bias", bias, "other"],
  ];
  const most = Math.max(...parts.map(([, value]) => Math.abs(value)));
  const rows = parts.map(([label, value, kind]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, label),
      element("td", { class: "wide" }, bar(value, most, kind)),
      element("td", { class: "number" }, signed(value)),
    ),
  );
  const total = element(
    "tr",
    { class: "total" },
    element("th", { scope: "row" }, "Score (logit)"),
    element("td", {}),
    element("td", { class: "number" }, figure(logit)),
  );
  return element(
    "section",
    { class: "card" },
    element("h2", {}, "What the score of ", element("b", {}, name), " is made of"),
    element("table", { class: "sum" }, element("tbody", {}, ...rows, total)),
  );
}

function features({ features: found, labelled }, showAlone) {
  if (!labelled) return null;
  const most = Math.max(...found.map(({ contribution }) => Math.abs(contribution)));
  const heads = [
    ["Feature", ""],
    ["Label", ""],
    ["Activation", "number"],
    ["Contribution", "wide"],
  ];
  return element(
    "section",
    { class: "card" },
    element("h2", {}, "Its labelled features"),
    element("p", { class: "muted" }, "Choose a feature to see its own mask."),
    element(
      "div",
      { class: "scroll", role: "region", "aria-label": "Features", tabindex: "0" },
      element(
        "table",
        { class: "features" },
        element(
          "thead",
          {},
          element("tr", {}, ...heads.map(([label, style]) => element("th", { scope: "col", class: style }, label))),
        ),
        element("tbody", {}, ...found.map((feature) => row(feature, most, showAlone))),
      ),
    ),
  );
}

function row(feature, most, showAlone) {
  const { main_object, separate_object, background } = feature.votes;
  const votes = `Votes: ${main_object} main object, ${separate_object} separate object, ${background} background`;
  const validity = feature.valid
    ? element("span", { class: "below valid", title: `At or above ${figure(feature.valid_from)}` }, "in range")
    : element("span", { class: "below invalid", title: `Below ${figure(feature.valid_from)}` }, "below range");
  return element(
    "tr",
    {},
    element(
      "td",
      {},
      element(
        "button",
        {
          type: "button",
          class: "feature",
          "aria-pressed": "false",
          "data-feature": feature.feature,
          disabled: !feature.mask,
          click: () => showAlone(feature.feature),
        },
        `#${feature.feature}`,
      ),
      element("span", { class: "below muted" }, `rank ${feature.rank}`),
    ),
    element(
      "td",
      { title: votes },
      element("span", { class: `badge ${feature.label}` }, feature.label),
      element("span", { class: "below muted" }, KINDS[feature.kind] ?? feature.kind),
    ),
    element("td", { class: "number" }, figure(feature.activation), validity),
    element(
      "td",
      { class: "wide" },
      element("span", { class: "number" }, signed(feature.contribution)),
      bar(feature.contribution, most, feature.label),
    ),
  );
}
