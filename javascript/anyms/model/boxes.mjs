// Boxes in fractions of the picture, and the tokens they cover. No page here.

/** @typedef {readonly [number, number, number, number]} Box x0, y0, x1, y1 in 0..1, x to the right and y down */
/** @typedef {{width: number, height: number}} Size of the picture, in pixels */
/** @typedef {{columns: number, rows: number}} Grid of tokens */
/** @typedef {{top: number, bottom: number, left: number, right: number}} TokenRect half-open */

export const SMALLEST = 1 / 32; // of a side, as drawn by hand; what is pasted may be smaller
export const TOKEN = 32; // pixels a token of SDXL's coarse layers
/** @type {Box} */
export const WHOLE = [0, 0, 1, 1];
const LATENT_STRIDE = 8;
const HALF_UP = 0.5 + 1e-9; // 0.7 * 45 is 31.499999999999996 in floats and 31.5 on paper

/** @type {(value: number, low: number, high: number) => number} */
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** @type {(value: number) => number} */
export const rounded = (value) => Math.round(value * 1e4) / 1e4;

/** @type {(box: readonly number[]) => Box} */
const asBox = (box) => [rounded(box[0]), rounded(box[1]), rounded(box[2]), rounded(box[3])];

/** @type {(one: Box, other: Box) => boolean} */
export const sameBox = (one, other) => one.every((edge, n) => edge === other[n]);

/**
 * Any four numbers as a box within the picture whose sides are not below SMALLEST.
 * @param {readonly number[]} given
 * @returns {Box}
 */
export function fitted(given) {
  const edges = given.map((edge) => (Number.isFinite(edge) ? clamp(edge, 0, 1) : 0));
  const [x0, x1] = side(edges[0], edges[2]);
  const [y0, y1] = side(edges[1], edges[3]);
  return asBox([x0, y0, x1, y1]);
}

/**
 * A box as it is told, clipped to the picture; one that is none becomes one.
 * @param {readonly number[]} told
 * @returns {Box}
 */
export function clipped(told) {
  const [x0, y0, x1, y1] = told.map((edge) => clamp(edge, 0, 1));
  return x0 < x1 && y0 < y1 ? [x0, y0, x1, y1] : fitted(told);
}

/** @type {(one: number, other: number) => [number, number]} */
function side(one, other) {
  const low = Math.min(one, other, 1 - SMALLEST);
  return [low, Math.max(one, other, low + SMALLEST)];
}

/**
 * The nearest line of a grid of `step` pixels; 0: no grid.
 * @param {number} edge
 * @param {number} pixels of the whole side
 * @param {number} step
 */
export function snapped(edge, pixels, step) {
  return step ? (Math.round((edge * pixels) / step) * step) / pixels : edge;
}

/**
 * `box` shifted as a whole; it stays within the picture and keeps its size.
 * @param {Box} box
 * @param {readonly [number, number]} by
 * @param {Size} size
 * @param {number} step of the grid its top left corner snaps to, in pixels
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
 * `box` with some of its edges shifted.
 * @param {Box} box
 * @param {string} edges of "n", "e", "s", "w"
 * @param {readonly [number, number]} by
 * @param {Size} size
 * @param {number} step of the grid the edges snap to, in pixels
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
 * The tokens of the UNet's finest (`halvings` 1) or coarsest (2) layers with cross-attention; each halving rounds up.
 * @param {Size} size
 * @param {number} halvings
 * @returns {Grid}
 */
export function tokenGrid(size, halvings) {
  let columns = Math.floor(size.width / LATENT_STRIDE);
  let rows = Math.floor(size.height / LATENT_STRIDE);
  for (let n = 0; n < halvings; n++) [columns, rows] = [Math.floor((columns + 1) / 2), Math.floor((rows + 1) / 2)];
  return { columns: Math.max(1, columns), rows: Math.max(1, rows) };
}

/**
 * As lib_anyms/layout/geometry.py: both ends rounded half up, at least one token a side.
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
 * The owner of each row-major token: a box's number, back to front, where the last one wins; -1 for nobody.
 * @param {readonly Box[]} boxes
 * @param {Grid} grid
 * @returns {Int16Array}
 */
export function ownersOf(boxes, grid) {
  const owners = new Int16Array(grid.columns * grid.rows).fill(-1);
  boxes.forEach((box, number) => {
    const { top, bottom, left, right } = tokensOf(box, grid);
    for (let row = top; row < bottom; row++) owners.fill(number, row * grid.columns + left, row * grid.columns + right);
  });
  return owners;
}

/**
 * For each box, back to front, the share of its tokens that no later box covers.
 * @param {readonly Box[]} boxes
 * @param {Grid} grid
 * @returns {number[]}
 */
export function visibleShares(boxes, grid) {
  const seen = boxes.map(() => 0);
  for (const owner of ownersOf(boxes, grid)) if (owner >= 0) seen[owner] += 1;
  return boxes.map((box, number) => {
    const { top, bottom, left, right } = tokensOf(box, grid);
    return seen[number] / ((bottom - top) * (right - left));
  });
}

/** @type {(box: Box) => number} */
export const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
