// Boxes in fractions of the picture, and the tokens they cover.

/** @typedef {readonly [number, number, number, number]} Box x0, y0, x1, y1 in 0..1, x to the right and y down */
/** @typedef {{width: number, height: number}} Size of the picture, in pixels */
/** @typedef {{columns: number, rows: number}} Grid of tokens */
/** @typedef {{top: number, bottom: number, left: number, right: number}} TokenRect half-open */

export const SMALLEST = 1 / 32; // smallest side that the editor draws; a pasted box may have a smaller one
export const TOKEN = 32; // pixels per token in SDXL's coarse layers
/** @type {Box} */
export const WHOLE = [0, 0, 1, 1];
const LATENT_STRIDE = 8;
const HALF_UP = 0.5 + 1e-9; // 0.7 * 45 is 31.5, but 31.499999999999996 in floats

/** @type {(value: number, low: number, high: number) => number} */
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** @type {(value: number) => number} */
export const rounded = (value) => Math.round(value * 1e4) / 1e4;

/** @type {(box: readonly number[]) => Box} */
const asBox = (box) => [rounded(box[0]), rounded(box[1]), rounded(box[2]), rounded(box[3])];

/** @type {(one: Box, other: Box) => boolean} */
export const sameBox = (one, other) => one.every((edge, n) => edge === other[n]);

/**
 * Any four numbers as a box inside the picture, with sides of at least SMALLEST.
 * @param {readonly number[]} numbers
 * @returns {Box}
 */
export function fitted(numbers) {
  const edges = numbers.map((edge) => (Number.isFinite(edge) ? clamp(edge, 0, 1) : 0));
  const [x0, x1] = side(edges[0], edges[2]);
  const [y0, y1] = side(edges[1], edges[3]);
  return asBox([x0, y0, x1, y1]);
}

/**
 * Four numbers clipped to the picture, not rounded. Numbers that form no box are fitted.
 * @param {readonly number[]} numbers
 * @returns {Box}
 */
export function clipped(numbers) {
  const [x0, y0, x1, y1] = numbers.map((edge) => clamp(edge, 0, 1));
  return x0 < x1 && y0 < y1 ? [x0, y0, x1, y1] : fitted(numbers);
}

/** @type {(one: number, other: number) => [number, number]} */
function side(one, other) {
  const low = Math.min(one, other, 1 - SMALLEST);
  return [low, Math.max(one, other, low + SMALLEST)];
}

/**
 * `edge` on the nearest grid line.
 * @param {number} edge
 * @param {number} pixels of the whole side
 * @param {number} step pixels between grid lines; 0: no grid
 */
export function snapped(edge, pixels, step) {
  return step ? (Math.round((edge * pixels) / step) * step) / pixels : edge;
}

/**
 * `box` moved by `by`. It stays inside the picture and keeps its size.
 * @param {Box} box
 * @param {readonly [number, number]} by
 * @param {Size} size
 * @param {number} step pixels between the grid lines that its top left corner snaps to
 * @returns {Box}
 */
export function moved(box, by, size, step) {
  const width = box[2] - box[0];
  const height = box[3] - box[1];
  const x0 = clamp(by[0] ? snapped(box[0] + by[0], size.width, step) : box[0], 0, 1 - width);
  const y0 = clamp(by[1] ? snapped(box[1] + by[1], size.height, step) : box[1], 0, 1 - height);
  return asBox([x0, y0, x0 + width, y0 + height]);
}

/**
 * `box` with some of its edges moved by `by`.
 * @param {Box} box
 * @param {string} edges of "n", "e", "s", "w"
 * @param {readonly [number, number]} by
 * @param {Size} size
 * @param {number} step pixels between the grid lines that the edges snap to
 * @returns {Box}
 */
export function resized(box, edges, by, size, step) {
  const x = snapped(box[edges.includes("w") ? 0 : 2] + by[0], size.width, step);
  const y = snapped(box[edges.includes("n") ? 1 : 3] + by[1], size.height, step);
  return asBox([
    edges.includes("w") ? clamp(x, 0, Math.max(0, box[2] - SMALLEST)) : box[0],
    edges.includes("n") ? clamp(y, 0, Math.max(0, box[3] - SMALLEST)) : box[1],
    edges.includes("e") ? clamp(x, Math.min(1, box[0] + SMALLEST), 1) : box[2],
    edges.includes("s") ? clamp(y, Math.min(1, box[1] + SMALLEST), 1) : box[3],
  ]);
}

/**
 * Any two corners as a box on the grid.
 * @type {(corners: readonly number[], size: Size, step: number) => Box}
 */
export function gridded(corners, size, step) {
  return fitted(corners.map((edge, n) => snapped(edge, n % 2 ? size.height : size.width, step)));
}

/**
 * How far a corner moves so that the box keeps its ratio: the axis that grows more sets the factor.
 * @param {Box} box
 * @param {string} edges two of "n", "e", "s", "w"
 * @param {readonly [number, number]} by
 * @returns {[number, number]}
 */
export function inRatio(box, edges, by) {
  const signs = [edges.includes("w") ? -1 : 1, edges.includes("n") ? -1 : 1];
  const sides = [box[2] - box[0], box[3] - box[1]];
  const room = [edges.includes("w") ? box[0] : 1 - box[2], edges.includes("n") ? box[1] : 1 - box[3]];
  const most = Math.min(room[0] / sides[0], room[1] / sides[1]);
  const least = Math.max(SMALLEST / sides[0], SMALLEST / sides[1]) - 1;
  const wished = Math.max((by[0] * signs[0]) / sides[0], (by[1] * signs[1]) / sides[1]);
  const growth = clamp(wished, Math.min(least, 0), most);
  return [growth * sides[0] * signs[0], growth * sides[1] * signs[1]];
}

/**
 * `box` in the ratio of a picture: around the same middle, as large as before where there is room. Its top left corner
 * snaps to lines `step` pixels apart, as that of a dragged box.
 * @type {(box: Box, picture: Size, size: Size, step: number) => Box}
 */
export function inShapeOf(box, picture, size, step) {
  const ratio = (picture.width / picture.height) * (size.height / size.width); // of sides in fractions
  const [width, height] = [box[2] - box[0], box[3] - box[1]];
  const wished = Math.sqrt(width * height * ratio);
  const x = Math.min(wished, 1, ratio);
  const y = x / ratio;
  const left = clamp(snapped((box[0] + box[2] - x) / 2, size.width, step), 0, 1 - x);
  const top = clamp(snapped((box[1] + box[3] - y) / 2, size.height, step), 0, 1 - y);
  return fitted([left, top, left + x, top + y]);
}

/**
 * The token grid of the UNet's cross-attention layers: `halvings` 1 for the finest, 2 for the coarsest. Halving rounds
 * up.
 * @param {Size} size
 * @param {number} halvings
 * @returns {Grid}
 */
export function tokenGrid(size, halvings) {
  let columns = Math.floor(size.width / LATENT_STRIDE);
  let rows = Math.floor(size.height / LATENT_STRIDE);
  for (let n = 0; n < halvings; n++) {
    columns = Math.floor((columns + 1) / 2);
    rows = Math.floor((rows + 1) / 2);
  }
  return { columns: Math.max(1, columns), rows: Math.max(1, rows) };
}

/**
 * The tokens that `box` covers. Both ends round half up, with at least one token per side, as
 * lib_anyms/layout/geometry.py.
 * @param {Box} box
 * @param {Grid} grid
 * @returns {TokenRect}
 */
export function tokensOf(box, grid) {
  const [left, right] = span(box[0], box[2], grid.columns);
  const [top, bottom] = span(box[1], box[3], grid.rows);
  return { top, bottom, left, right };
}

/** @type {(low: number, high: number, count: number) => [number, number]} */
function span(low, high, count) {
  const first = Math.floor(low * count + HALF_UP);
  const last = Math.floor(high * count + HALF_UP);
  if (first < last) return [first, last];
  const middle = Math.min(count - 1, Math.floor(((low + high) / 2) * count));
  return [middle, middle + 1];
}

/**
 * The index of the box that owns each token, in row-major order; -1: no box. Boxes go back to front and the last one
 * wins.
 * @param {readonly Box[]} boxes
 * @param {Grid} grid
 * @returns {Int16Array}
 */
export function ownersOf(boxes, grid) {
  const owners = new Int16Array(grid.columns * grid.rows).fill(-1);
  boxes.forEach((box, index) => {
    const { top, bottom, left, right } = tokensOf(box, grid);
    for (let row = top; row < bottom; row++) {
      const start = row * grid.columns;
      owners.fill(index, start + left, start + right);
    }
  });
  return owners;
}

/**
 * The share of each box's tokens that no later box covers. Boxes go back to front.
 * @param {readonly Box[]} boxes
 * @param {Grid} grid
 * @returns {number[]}
 */
export function visibleShares(boxes, grid) {
  const owned = boxes.map(() => 0);
  for (const owner of ownersOf(boxes, grid)) {
    if (owner >= 0) owned[owner] += 1;
  }
  return boxes.map((box, index) => {
    const { top, bottom, left, right } = tokensOf(box, grid);
    return owned[index] / ((bottom - top) * (right - left));
  });
}

/** @type {(box: Box) => number} */
export const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);

/** Left, top, width and height in percent. @type {(box: Box) => number[]} */
export function percents([x0, y0, x1, y1]) {
  return [x0, y0, x1 - x0, y1 - y0].map((part) => Math.round(part * 1000) / 10);
}

/**
 * The box after one number was typed: left and top move it, width and height keep its corner.
 * @type {(box: Box, n: number, percent: number) => Box}
 */
export function typed(box, n, percent) {
  const part = percent / 100;
  const edges = [...box];
  const near = n % 2; // index of the left or top edge
  const far = near + 2;
  if (n >= 2) {
    edges[far] = edges[near] + Math.max(0, part);
    return fitted(edges);
  }
  const side = box[far] - box[near];
  edges[near] = Math.min(Math.max(part, 0), 1 - side);
  edges[far] = edges[near] + box[far] - box[near];
  return fitted(edges);
}
