// Arrangements of any number of subjects. Each returns one box per subject, in the order of their slots.

import { fitted } from "./boxes.mjs?v=89aa7310";

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

/** @type {(count: number, place: (n: number) => number[]) => Box[]} */
const boxes = (count, place) => Array.from({ length: count }, (_, n) => fitted(place(n)));

export const PRESETS = { sideBySide, thirds, grid, groupPhoto };
