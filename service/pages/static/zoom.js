// One tile of a panel, as large as the screen allows. The arrow keys go to its neighbours, Escape and a press close it.

import { element, find } from "./dom.js";
import { paint } from "./sheet.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

let shown = null; // {sheet, rows, row, column}

const within = (value, places) => Math.max(0, Math.min(places - 1, value));

function draw() {
  const { sheet, rows, row, column } = shown;
  const words = `${rows[row]}, ${sheet.shown.indexOf(column) + 1} of ${sheet.shown.length}`;
  find("zoom").replaceChildren(
    paint(element("div", { class: "tile", role: "img", "aria-label": words }), sheet, row, column),
    element("p", {}, words),
    element("button", { type: "button", class: "button quiet", click: () => find("zoom").close() }, "Close"),
  );
}

/** Enlarge a tile of a sheet whose rows are called `rows`. */
export function enlarge(sheet, row, column, rows) {
  shown = { sheet, rows, row, column };
  draw();
  find("zoom").showModal();
}

find("zoom").addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const { sheet } = shown;
  const row = within(shown.row + step[0], shown.rows.length);
  const column = sheet.shown[within(sheet.shown.indexOf(shown.column) + step[1], sheet.shown.length)];
  if (sheet.blank[row][column]) return;
  Object.assign(shown, { row, column });
  draw();
});
find("zoom").addEventListener("click", (event) => event.target === find("zoom") && find("zoom").close());
