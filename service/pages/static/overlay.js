// The picture on a canvas with its masks in colour: blended from core to spurious, or one feature's mask alone.

const COLOURS = { core: [38, 138, 255], spurious: [255, 106, 0] };
const STRENGTH = 0.72; // of a mask at 1
const LONGEST = 1280; // pixels of the canvas's longer side
const SHORTEST = 720; // small pictures are enlarged to this, so that the masks over them are smooth

/** A grey PNG (a `Map` of the service) as a canvas of one colour that is opaque where the mask is 1. */
async function tinted(map, colour) {
  const bytes = Uint8Array.from(atob(map.data), (character) => character.charCodeAt(0));
  const mask = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(mask, 0, 0);
  const pixels = context.getImageData(0, 0, mask.width, mask.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const level = pixels.data[at];
    pixels.data.set(colour, at);
    pixels.data[at + 3] = level;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * The masks of one class in colour.
 * @param {?{core: ?Object, spurious: ?Object}} masks
 * @param {Object[]} features of that class, each with its own mask
 * @returns {Promise<{core: ?OffscreenCanvas, spurious: ?OffscreenCanvas, features: Map<number, OffscreenCanvas>}>}
 */
export async function layersOf(masks, features) {
  const layer = (map, label) => (map ? tinted(map, COLOURS[label]) : null);
  const own = features.map(async ({ feature, label, mask }) => [feature, await layer(mask, label)]);
  const [core, spurious] = await Promise.all(["core", "spurious"].map((label) => layer(masks?.[label], label)));
  return { core, spurious, features: new Map(await Promise.all(own)) };
}

export class Overlay {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  /**
   * @param {?ImageBitmap} picture null where the browser cannot draw it: the masks then lie on grey
   * @param {{width: number, height: number, seen: {top: number, left: number, bottom: number, right: number}}} found
   *   the picture's size, and where on it the masks lie
   * @param {Object} layers see layersOf
   */
  set(picture, { width, height, seen }, layers) {
    const longer = Math.max(width, height);
    const scale = Math.min(Math.max(longer, SHORTEST), LONGEST) / longer;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.picture = picture;
    this.layers = layers;
    this.box = [seen.left, seen.top, seen.right - seen.left, seen.bottom - seen.top].map((pixels) => pixels * scale);
  }

  /**
   * @param {{blend: number, alone: ?number, shown: boolean}} view blend from 0 (core) to 1 (spurious); alone: a
   *   feature whose own mask is shown instead
   */
  draw({ blend, alone, shown }) {
    const { context, canvas } = this;
    context.globalAlpha = 1;
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#808080";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (this.picture) context.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
    if (!shown) return;
    this.#shadeUnseen();
    if (alone !== null) {
      this.#lay(this.layers.features.get(alone), 1);
    } else {
      this.#lay(this.layers.core, 1 - blend);
      this.#lay(this.layers.spurious, blend);
    }
  }

  #lay(layer, weight) {
    if (layer === null || weight === 0) return;
    // At half-way both are half shown; the root keeps them strong enough to be told from the picture.
    this.context.globalAlpha = STRENGTH * Math.sqrt(weight);
    this.context.drawImage(layer, ...this.box);
    this.context.globalAlpha = 1;
  }

  /** What lies outside the model's crop is darkened: no mask could be there. */
  #shadeUnseen() {
    const { context, canvas } = this;
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.beginPath();
    context.rect(0, 0, canvas.width, canvas.height);
    context.rect(...this.box);
    context.fill("evenodd");
  }
}
