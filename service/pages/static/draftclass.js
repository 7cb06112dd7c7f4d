// One class of a draft as elements: what it is, examples of it, and its candidates with their panels.

import { element } from "./dom.js";
import { count, figure, percent, signed } from "./format.js";

const GROUPS = {
  predicted: (name) => `predicted as ${name}`,
  label: (name) => `labelled as ${name}`,
  both: (name) => `predicted and labelled as ${name}`,
};
const ROWS = ["Picture", "Heat map", "Attack"];
const NAMED_CLASSES = 12;

/**
 * @param {Object} found answer of the service about one class
 * @param {Object} draft that it belongs to
 * @returns {Element[]}
 */
export function classView(found, draft) {
  const candidates = found.candidates.map((one) => candidate(one, found));
  return [head(found, draft), ...candidates];
}

function head(found, draft) {
  const { name, description, pictures, group, note } = found;
  const counts = `${count(pictures)} pictures labelled so, ${count(group)} in its group: ${GROUPS[draft.grouping](name)}.`;
  return element(
    "section",
    { class: "card" },
    element("h2", { class: "classname" }, name),
    description ? element("p", {}, description) : null,
    element("p", { class: "muted" }, counts),
    note ? element("p", { class: "note" }, note) : null,
    found.strip_href ? strip(found) : null,
  );
}

/** Square tiles side by side; only as many as there are, whatever the file has room for. */
function sprite(href, alt, columns, rows) {
  const made = element("span", { class: "sprite" }, element("img", { src: href, alt, loading: "lazy", decoding: "async" }));
  size(made, columns, rows);
  return made;
}

function size(made, columns, rows) {
  made.style.setProperty("--columns", columns);
  made.style.setProperty("--rows", rows);
}

function region(label, ...children) {
  return element("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, ...children);
}

function strip({ name, examples, strip_href: href }) {
  const alt = `${examples.length} examples of ${name}: ${examples.join(", ")}`;
  return region(`Examples of ${name}`, sprite(href, alt, examples.length, 1));
}

const titleOf = ({ component, feature_index: feature }) =>
  component === null || component === undefined ? `Channel ${feature}` : `Component ${component}`;

function candidate(one, found) {
  const title = titleOf(one);
  return element(
    "section",
    { class: "card candidate", "data-feature": one.feature_index },
    element(
      "h3",
      {},
      element("span", { class: "muted" }, `${one.rank}. `),
      title,
      ...one.sources.flatMap((source) => [" ", element("span", { class: "badge source" }, source)]),
    ),
    ...one.sources.map((source) => element("p", {}, reason(source, one, found.name))),
    tops(one),
    ...(one.failure ? failure(one.failure) : []),
    panel(one, title, found.name),
  );
}

/** How it was found, in plain words. */
function reason(source, { component, importance }, name) {
  const words = {
    importance: `Found by importance: it is among the channels that add most to the score of ${name}, ${signed(importance)} on average.`,
    component: `Found by neural PCA: a direction in which the features of ${name} differ from picture to picture (number ${component} by variance, counted from 0); it moves the score by ${figure(importance)} on average.`,
    bank: "A row of a published bank, drawn to be labelled again.",
    failure: "Found by failures: it tells the pictures on which the classifier errs from those on which it does not.",
  };
  return words[source] ?? source;
}

/** Where the classifier fails, in plain words, and the figures behind it. */
function failure(found) {
  const { threshold, below: low, pictures, error_rate: here, base_error_rate: base, error_coverage: covered } = found;
  const where = `On the ${count(pictures)} pictures whose activation is ${low ? "below" : "at or above"} ${figure(threshold)}`;
  const figures = [
    ["Errors there", percent(here)],
    ["Errors in all of the class", percent(base)],
    ["Share of the class's errors", percent(covered)],
    ["Average leaf error rate, held out", percent(found.held_out_aler)],
    ["p, against shuffled errors", found.p_value < 0.001 ? "< 0.001" : found.p_value.toFixed(3)],
  ];
  return [
    element("p", {}, `${where}, the classifier errs on ${percent(here)}; in all of the class on ${percent(base)}.`),
    element(
      "dl",
      { class: "figures" },
      ...figures.map(([label, value]) =>
        element("div", {}, element("dt", {}, label), element("dd", { class: "numbers" }, value)),
      ),
    ),
  ];
}

function tops({ tops_names: names }) {
  if (names.length === 0) return null;
  const more = names.length - NAMED_CLASSES;
  const words = names.slice(0, NAMED_CLASSES).join(", ");
  return element("p", {}, "Also strong for: ", element("b", {}, words), more > 0 ? ` and ${more} more classes` : "");
}

/** The sprite with its rows named on the left, and below each column the picture's name and activations. */
function panel(one, title, name) {
  const { exemplars, prototype } = one;
  const columns = exemplars.length + (prototype ? 1 : 0);
  const grid = element("div", { class: "panel" });
  size(grid, columns, ROWS.length);
  grid.append(
    ...ROWS.map((row) => element("span", { class: "rowname", "aria-hidden": "true" }, row)),
    sprite(one.panel_href, altOf(one, title, name), columns, ROWS.length),
    element("span", { class: "rowname below" }, "Activation"),
    ...exemplars.map(below),
  );
  if (prototype) {
    grid.append(
      element(
        "span",
        { class: "below column" },
        element("span", {}, "prototype"),
        element("span", { class: "numbers" }, figure(prototype.activation)),
        element("span", { class: "muted" }, `${name}: ${percent(prototype.probability)}`),
      ),
    );
  }
  return region(`Panel of ${title.toLowerCase()}`, grid);
}

function below({ sample, activation, attacked }) {
  return element(
    "span",
    { class: "below column" },
    element("span", { class: "numbers" }, figure(activation)),
    element("span", { class: "numbers muted" }, `attacked ${figure(attacked)}`),
    element("span", { class: "sample muted", title: sample }, sample),
  );
}

function altOf({ exemplars, prototype }, title, name) {
  const pictures = exemplars.map(({ sample }) => sample).join(", ");
  const last = prototype ? ", and its prototype, a picture made from grey" : "";
  return `${title} of ${name}. Columns: ${pictures}${last}. Rows: ${ROWS.join(", ").toLowerCase()}.`;
}
