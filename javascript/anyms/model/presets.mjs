// Arrangements of any number of subjects. Each returns one box per subject, in the order of their slots.

import { area, fitted, rounded } from "./boxes.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Box} Box */

/** @type {(count: number) => Box[]} */
export function sideBySide(count) {
  const gap = Math.min(0.04, 0.3 / count);
  const width = (0.9 - gap * (count - 1)) / count;
  return boxes(count, (n) => {
    const left = 0.05 + n * (width + gap);
    return [left, 0.15, left + width, 0.95];
  });
}

/**
 * The picture's thirds: one subject takes the middle third, two take the outer ones.
 * @type {(count: number) => Box[]}
 */
export function thirds(count) {
  if (count < 3) return boxes(count, (n) => cell(count === 1 ? 1 : 2 * n, 0, 3, 1));
  return cells(count, 3);
}

/** @type {(count: number) => Box[]} */
export const grid = (count) => cells(count, Math.ceil(Math.sqrt(count)));

/**
 * A group photo: shoulder to shoulder; five or more stand in two rows, the front row lower.
 * @type {(count: number) => Box[]}
 */
export function groupPhoto(count) {
  const front = count < 5 ? count : Math.ceil(count / 2);
  const back = count - front;
  const top = back ? 0.4 : 0.2; // of the front row
  return boxes(count, (n) => {
    if (n < back) return standing(n, back, 0.05, 0.6);
    return standing(n - back, front, top, 1);
  });
}

/** @type {(n: number, count: number, top: number, bottom: number) => number[]} */
function standing(n, count, top, bottom) {
  const width = Math.min(0.5, 1.15 / (count + 0.15)); // neighbours overlap by a few hundredths
  const first = count > 1 ? 0.02 + (n * (0.96 - width)) / (count - 1) : (1 - width) / 2;
  return [first, top, first + width, bottom];
}

/** @type {(count: number, columns: number) => Box[]} */
function cells(count, columns) {
  const rows = Math.ceil(count / columns);
  return boxes(count, (n) => {
    const row = Math.floor(n / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    return cell(n - row * columns, row, inRow, rows);
  });
}

/** @type {(column: number, row: number, columns: number, rows: number) => number[]} */
const cell = (column, row, columns, rows) => [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];

const SIZES = [
  [0.3, 0.45],
  [0.25, 0.35],
  [0.2, 0.25],
];
const STRIDE = 0.05;
const ALMOST_ALL = 0.8; // a larger box is a background, which any other box covers

/**
 * A place for one more box: it covers none of `taken`, or as little as possible, and is near the middle.
 * @type {(taken: readonly Box[]) => Box}
 */
export function freePlace(taken) {
  const others = taken.filter((box) => area(box) < ALMOST_ALL);
  /** @type {{box: number[], covered: number}[]} */
  const bests = SIZES.map(([width, height]) => bestPlace(others, width, height));
  const best = bests.find(({ covered }) => covered === 0) ?? bests[0];
  return fitted(best.box);
}

/** @type {(others: readonly Box[], width: number, height: number) => {box: number[], covered: number}} */
function bestPlace(others, width, height) {
  let best = { box: [0.3, 0.25, 0.3 + width, 0.25 + height], covered: Infinity, away: Infinity };
  for (let x = 0.05; x + width <= 0.951; x += STRIDE) {
    for (let y = 0.05; y + height <= 0.951; y += STRIDE) {
      const box = [x, y, x + width, y + height];
      const covered = rounded(others.reduce((sum, other) => sum + overlap(box, other), 0));
      const away = Math.hypot(x + width / 2 - 0.5, y + height / 2 - 0.5);
      if (covered < best.covered || (covered === best.covered && away < best.away)) best = { box, covered, away };
    }
  }
  return best;
}

/** Area that two boxes share. @type {(one: readonly number[], other: readonly number[]) => number} */
function overlap(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(0, width) * Math.max(0, height);
}

/** @type {(count: number, place: (n: number) => number[]) => Box[]} */
const boxes = (count, place) => Array.from({ length: count }, (_, n) => fitted(place(n)));

export const PRESETS = { sideBySide, thirds, grid, groupPhoto };
