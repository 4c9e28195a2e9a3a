// Magnifies the stage, and scrolls it. No edit: it has no undo step, and no field keeps it.

import { attribute, button, make, t, text, textButton } from "./dom.mjs?v=31cf827f";
import { limited, nearest, stepped, turned } from "../model/zoom.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {readonly [number, number]} Point of the window in pixels, or of the picture in fractions */

const LINE = 16; // pixels of a wheel's line

export class Zoom {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.factor = 1;
    /** What is in the middle of the view: a dialog that has closed can no longer say. @type {Point} */
    this.place = [0.5, 0.5];
    /** @type {{factor: number, distance: number, middle: Point} | null} */
    this.pinch = null;
    this.view = make("div", { className: "view" }, editor.canvas.root);
    this.out = button("smaller", t("Zoom out"), () => this.step(-1));
    this.whole = textButton("", () => this.step(0), { className: "whole" });
    this.in = button("larger", t("Zoom in"), () => this.step(1));
    this.controls = make("div", { className: "zoom" }, this.out, this.in); // the toolbar of the larger view has room
    this.root = make("div", { className: "window" }, this.view, this.whole);
    this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.view.addEventListener("scroll", () => this.scrolled());
    this.view.addEventListener("touchstart", (event) => this.touch(event), { passive: false });
    this.view.addEventListener("touchmove", (event) => this.spread(event), { passive: false });
  }

  draw() {
    const { factor, view, whole, editor } = this;
    const percent = Math.round(factor * 100);
    const focused = [view, whole].some((node) => node === editor.shadow.activeElement);
    view.style.setProperty("--zoom", String(factor));
    this.controls.hidden = !editor.largerView?.root.open;
    text(whole, `${percent} %`);
    attribute(whole, "aria-label", t("{percent} %: show the whole stage", { percent }));
    whole.hidden = factor === 1;
    this.drawView();
    if (focused && whole.hidden) editor.toolbar.enlarge.focus({ preventScroll: true });
  }

  /** A part of the stage takes the focus: arrow keys scroll it. */
  drawView() {
    const { view } = this;
    const zoomed = this.factor > 1;
    view.classList.toggle("zoomed", zoomed);
    if (!zoomed) for (const name of ["tabindex", "role", "aria-label"]) view.removeAttribute(name);
    if (!zoomed) return;
    attribute(view, "tabindex", "0");
    attribute(view, "role", "group");
    attribute(view, "aria-label", t("Part of the stage; arrow keys scroll"));
  }

  /** @param {number} by 1: in, -1: out, 0: all of the stage */
  step(by) {
    this.to(stepped(this.factor, by));
    this.editor.say(t("Zoom: {percent} %", { percent: Math.round(this.factor * 100) }));
  }

  /**
   * Magnifies. What was at `from` is at `at` then.
   * @type {(factor: number, at?: Point, from?: Point) => void}
   */
  to(factor, at = this.middle(), from = at) {
    const place = this.placeAt(from);
    this.factor = limited(factor);
    this.draw();
    this.bring(place, at);
    this.editor.boxBar.draw();
  }

  /** Moves the stage elsewhere on the page; the same part stays in view. @param {() => void} move */
  across(move) {
    const { place } = this;
    move();
    this.draw();
    this.bring(place, this.middle());
    this.editor.boxBar.draw();
  }

  scrolled() {
    if (this.view.clientWidth) this.place = this.placeAt(this.middle());
    this.editor.boxBar.draw();
  }

  /** @returns {Point} */
  middle() {
    const { left, top, width, height } = this.view.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  }

  /** @param {Point} point */
  placeAt([clientX, clientY]) {
    return this.editor.canvas.pointOf({ clientX, clientY });
  }

  /** Scrolls until a place of the picture is at a point. @type {(place: Point, at: Point) => void} */
  bring([x, y], [atX, atY]) {
    const { left, top, width, height } = this.editor.canvas.root.getBoundingClientRect();
    this.view.scrollLeft += left + x * width - atX;
    this.view.scrollTop += top + y * height - atY;
  }

  /** Scrolls until a subject's box is in view. @param {number} slot */
  reveal(slot) {
    const node = this.editor.canvas.boxes.get(slot)?.root;
    if (this.factor === 1 || !node) return;
    const [box, view] = [node.getBoundingClientRect(), this.view.getBoundingClientRect()];
    this.view.scrollLeft += nearest([box.left, box.right], [view.left, view.right]);
    this.view.scrollTop += nearest([box.top, box.bottom], [view.top, view.bottom]);
  }

  /** A box in fractions of the view; only the part in view. @param {Box} box @returns {Box} */
  inView(box) {
    if (this.factor === 1) return box;
    const { left, top, width, height } = this.editor.canvas.root.getBoundingClientRect();
    const view = this.view.getBoundingClientRect();
    const within = (/** @type {number} */ share) => Math.min(Math.max(share, 0), 1);
    const x = (/** @type {number} */ edge) => within((left + edge * width - view.left) / view.width);
    const y = (/** @type {number} */ edge) => within((top + edge * height - view.top) / view.height);
    return [x(box[0]), y(box[1]), x(box[2]), y(box[3])];
  }

  /** Whether a pointer is over the part in view. @param {MouseEvent} event */
  isUnder({ clientX, clientY }) {
    const { left, right, top, bottom } = this.view.getBoundingClientRect();
    return left <= clientX && clientX < right && top <= clientY && clientY < bottom;
  }

  // -- wheel and fingers ----------------------------------------------------------------------------------------------

  /** With Ctrl; a trackpad's pinch arrives as such a turn, too. @param {WheelEvent} event */
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault(); // the browser would magnify the page
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * LINE : event.deltaY;
    this.to(turned(this.factor, pixels), [event.clientX, event.clientY]);
  }

  /** A second finger, unless the first one already drags a box. @param {TouchEvent} event */
  touch(event) {
    const { editor } = this;
    this.pinch = null;
    if (event.touches.length !== 2 || editor.previewed || !event.cancelable) return;
    event.preventDefault();
    editor.canvas.gesture?.stop(true);
    this.pinch = { factor: this.factor, ...apart(event.touches) };
  }

  /** @param {TouchEvent} event */
  spread(event) {
    if (!this.pinch || event.touches.length !== 2) return;
    if (event.cancelable) event.preventDefault();
    const { factor, distance, middle } = this.pinch;
    const now = apart(event.touches);
    this.to((factor * now.distance) / distance, now.middle, middle);
    this.pinch.middle = now.middle;
  }
}

/** @type {(fingers: TouchList) => {distance: number, middle: Point}} */
function apart([one, other]) {
  const distance = Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  return {
    distance: Math.max(distance, 1),
    middle: [(one.clientX + other.clientX) / 2, (one.clientY + other.clientY) / 2],
  };
}
