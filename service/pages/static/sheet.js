// A sheet of square tiles as a grid of pictures: in rows side by side where there is room, stacked on a phone.

import { element } from "./dom.js";

/**
 * @typedef {Object} Sheet
 * @property {string} url of the whole, within this page
 * @property {number} columns of the whole, in tiles
 * @property {number} rows of the whole
 * @property {number[]} shown its columns that hold a picture
 * @property {boolean[][]} blank of every row and column, whether there is none
 */

const WHITE = 250; // of 255: a JPEG's white is not quite
const PROBE = 8; // pixels that a side of a tile is looked at with
const EDGE = 2; // of them, those into which the tiles beside it run

/** A sheet from its address within this page, decoded, so that showing it takes no time. */
export async function decodeSheet(url, tile) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const side = tile || image.naturalHeight;
  const columns = Math.max(1, Math.round(image.naturalWidth / side));
  const rows = Math.max(1, Math.round(image.naturalHeight / side));
  const blank = blanks(image, columns, rows);
  const shown = Array.from({ length: columns }, (_, column) => column).filter((column) => blank.some((row) => !row[column]));
  return { url, image, columns, rows, blank, shown }; // the image is kept: the browser then keeps it decoded
}

/** Tiles that were left white: where a row has fewer pictures than the sheet has columns. */
function blanks(image, columns, rows) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns * PROBE, rows * PROBE];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const inner = PROBE - 2 * EDGE;
  const isBlank = (row, column) =>
    context.getImageData(column * PROBE + EDGE, row * PROBE + EDGE, inner, inner).data.every((level) => level >= WHITE);
  return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (__, column) => isBlank(row, column)));
}

/** Where in the sheet a tile lies, in per cent of what overlaps. */
const share = (place, places) => (places > 1 ? (100 * place) / (places - 1) : 0);

/** Draw one tile of a sheet as the background of an element. */
export function paint(target, sheet, row, column) {
  target.style.backgroundImage = `url("${sheet.url}")`;
  target.style.backgroundSize = `${100 * sheet.columns}% ${100 * sheet.rows}%`;
  target.style.backgroundPosition = `${share(column, sheet.columns)}% ${share(row, sheet.rows)}%`;
  return target;
}

/**
 * Named rows of tiles; those that are blank are left out.
 * @param {Sheet} sheet
 * @param {{rows: string[], label: string, open: function(number, number)}} options names of its rows; what it is for
 *   those who do not see it; called with a pressed tile's row and column.
 */
export function tileGrid(sheet, { rows, label, open }) {
  const { shown, blank } = sheet;
  const grid = element("div", { class: "tiles", role: "group", "aria-label": label });
  grid.style.setProperty("--columns", shown.length);
  grid.style.setProperty("--rows", rows.length);
  rows.forEach((name, row) => {
    grid.append(element("span", { class: "row-name", "aria-hidden": "true" }, name));
    shown.forEach((column, at) => {
      if (blank[row][column]) return grid.append(element("span"));
      const title = `${name} ${at + 1} of ${shown.length}, enlarge`;
      const tile = element("button", { type: "button", class: "tile", tabindex: "-1", "aria-label": title, click: () => open(row, column) });
      return grid.append(paint(tile, sheet, row, column));
    });
  });
  return grid;
}
