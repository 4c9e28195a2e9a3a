// Undo and redo of what was erased in the crop dialog.

import { begun, changed, redone, undone } from "../model/history.mjs?v=31cf827f";
import { canvasOf, contextOf } from "./crop-image.mjs?v=31cf827f";
import { button, make, t } from "./dom.mjs?v=31cf827f";

/** @typedef {import("./crop-image.mjs").Work} Work */

const MOST = 20; // states that are kept: each is a whole picture

export class Strokes {
  /** @param {() => void} redraw */
  constructor(redraw) {
    this.redraw = redraw;
    /** @type {Work | null} */
    this.work = null;
    this.history = begun(canvasOf({ width: 1, height: 1 }));
    this.undo = button("undo", t("Undo the last stroke"), () => this.step(-1));
    this.redo = button("redo", t("Redo the stroke"), () => this.step(1));
    this.root = make("div", {}, this.undo, this.redo);
  }

  /** @param {Work} work */
  begin(work) {
    this.work = work;
    this.history = begun(copyOf(work.paint));
    this.draw();
  }

  /** Whether a stroke would be lost by closing. */
  get changed() {
    return this.history.past.length > 0;
  }

  /** A stroke, a mask or "Start over" has ended. */
  keep() {
    if (!this.work) return;
    const next = changed(this.history, copyOf(this.work.paint));
    this.history = { ...next, past: next.past.slice(-MOST) };
    this.draw();
  }

  /** @param {number} direction -1: undo; 1: redo */
  step(direction) {
    const { work } = this;
    const next = direction < 0 ? undone(this.history) : redone(this.history);
    if (!work || next.present === this.history.present) return;
    this.history = next;
    work.paint = copyOf(next.present);
    work.painted = true;
    this.draw();
    this.redraw();
  }

  draw() {
    this.undo.disabled = !this.history.past.length;
    this.redo.disabled = !this.history.future.length;
  }
}

/** @type {(canvas: HTMLCanvasElement) => HTMLCanvasElement} */
function copyOf(canvas) {
  const copy = canvasOf(canvas);
  contextOf(copy).drawImage(canvas, 0, 0);
  return copy;
}
