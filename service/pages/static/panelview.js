// What one looks at: the class that a panel belongs to, and the panel itself, as large as fits.

import { element, find } from "./dom.js";
import { count } from "./format.js";
import { paint, tileGrid } from "./sheet.js";

const NAMES = { picture: "Picture", "heat map": "Heat map", attack: "Attack" };
const KINDS = { main_object: "main object", background: "background", separate_object: "separate object", ambiguous: "background or separate object" };
const CLASSES_NAMED = 4;

/** The class: name, description, a strip of examples. */
export function paintClass({ task, sheets }) {
  find("which").textContent = `Panel ${count(task.place)} of ${count(task.of)} · rank ${task.rank} · feature ${task.feature_index}`;
  find("class-name").textContent = task.class.name;
  find("class-description").textContent = task.class.description ?? "";
  find("class-description").hidden = !task.class.description;
  const also = task.also ?? [];
  const more = also.length - CLASSES_NAMED;
  find("also").hidden = also.length === 0;
  find("also").textContent = `Also strong for ${also.slice(0, CLASSES_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}.`;
  const { labelled } = task;
  find("labelled").hidden = !labelled;
  if (labelled) find("labelled").replaceChildren("Labelled ", element("b", {}, KINDS[labelled.kind]), labelled.reason ? `: “${labelled.reason}”` : "");
  const { strip } = sheets;
  find("strip").hidden = strip === null;
  if (strip === null) return;
  find("strip").setAttribute("aria-label", `Examples of ${task.class.name}`);
  const examples = strip.shown.map((column) => paint(element("span", { class: "tile" }), strip, 0, column));
  find("strip").replaceChildren(element("span", { class: "caption" }, "Examples"), ...examples);
}

/** The panel: a column per picture; in the rows the pictures, their heat maps and the attacks. */
export function paintPanel({ task, sheets }, open) {
  const { panel: sheet } = sheets;
  const rows = (task.rows ?? Object.keys(NAMES)).map((name) => NAMES[name] ?? name).slice(0, sheet.rows);
  const label = `Panel: ${sheet.shown.length} pictures of ${task.class.name}, in rows ${rows.join(", ")}${task.prototype ? "; the last column is a prototype made from grey" : ""}`;
  find("panel").replaceChildren(tileGrid(sheet, { rows, label, open: (row, column) => open(sheet, row, column, rows) }));
  find("panel").dataset.panel = task.panel;
}
