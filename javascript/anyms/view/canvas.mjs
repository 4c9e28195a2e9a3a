// The canvas: the picture's shape with all boxes on it, moved and resized by mouse, pen or finger.

import { gridded, inRatio, moved, resized, TOKEN } from "../model/boxes.mjs?v=31cf827f";
import { attribute, colourOf, make, placed, t, text } from "./dom.mjs?v=31cf827f";
import { hasPictures } from "../host/files.mjs?v=31cf827f";
import { added, boxOf, isFilled, isLocked, isOff, slotAt } from "../model/layout.mjs?v=31cf827f";
import { settingsOf, slotsUnder, withBox, withNew } from "../model/layout.mjs?v=31cf827f";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("./editor.mjs").Editor} Editor */
/**
 * @typedef {{root: HTMLElement, image: HTMLImageElement, picture: string, shape: HTMLElement, name: HTMLElement,
 * invite: HTMLElement}} BoxNodes
 */
/** @typedef {{pointer: number, slot: number, stop: (cancelled: boolean) => void}} Gesture */

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w", ""]; // "": the grip in the middle, to move a covered box

const EMPTY_LAYER = 20; // more than there are subjects
const FAR = 8; // pixels that make a press a drag

export class Canvas {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Map<number, BoxNodes>} */
    this.boxes = new Map();
    /** @type {Gesture | null} */
    this.gesture = null;
    const handles = HANDLES.map((edges) => make("span", { className: "handle", "data-edges": edges }));
    this.frame = make("div", { className: "frame", hidden: true, "aria-hidden": "true" }, ...handles);
    this.root = make("div", { className: "canvas", role: "group" }, editor.background.image, this.frame);
    this.root.addEventListener("pointerdown", (event) => this.grab(event));
    this.root.addEventListener("dragover", (event) => this.hover(event));
    this.root.addEventListener("dragleave", () => this.markDropTarget(0));
    this.root.addEventListener("drop", (event) => this.drop(event));
  }

  draw() {
    if (!this.gesture) {
      this.drawShape();
      this.editor.background.draw();
    }
    this.drawBoxes();
    this.drawFrame();
  }

  drawShape() {
    const { width, height } = this.editor.size;
    this.editor.mat?.style.setProperty("--aspect", String(width / height));
    this.root.style.setProperty("--column", String(TOKEN / width));
    this.root.style.setProperty("--row", String(TOKEN / height));
    this.root.classList.toggle("snapping", this.editor.snapping);
    attribute(this.root, "aria-label", t("Regions of the picture, {width} × {height}", { width, height }));
  }

  drawBoxes() {
    const { order } = this.editor;
    for (const { slot } of this.editor.layout.regions) this.drawBox(slot, order.indexOf(slot));
    for (const [slot, { root }] of this.boxes) {
      if (order.includes(slot)) continue;
      root.remove();
      this.boxes.delete(slot);
    }
  }

  drawFrame() {
    const { layout, chosen, order } = this.editor;
    this.frame.hidden = !order.includes(chosen);
    Object.assign(this.frame.style, placed(boxOf(layout, chosen)));
    this.frame.style.setProperty("--c", colourOf(chosen || 1));
  }

  /** @param {number} slot @param {number} layer */
  drawBox(slot, layer) {
    const { layout, chosen } = this.editor;
    const nodes = this.boxes.get(slot) ?? this.newBox(slot);
    const fact = this.editor.fact(slot);
    // An empty box lies before the others for the pointer: what it covers is not its own.
    const zIndex = String(fact.picture === "" ? layer + EMPTY_LAYER : layer);
    Object.assign(nodes.root.style, placed(boxOf(layout, slot)), { zIndex });
    nodes.root.classList.toggle("empty", !isFilled(fact));
    nodes.root.classList.toggle("off", isOff(layout, slot));
    nodes.root.classList.toggle("locked", isLocked(layout, slot));
    attribute(nodes.root, "aria-label", this.editor.describe(slot));
    attribute(nodes.root, "aria-pressed", String(slot === chosen));
    text(nodes.name, fact.name.trim());
    drawShape(nodes.shape, boxOf(layout, slot), String(settingsOf(layout, slot).silhouette));
    nodes.invite.hidden = fact.picture !== "";
    nodes.image.hidden = fact.picture === "";
    if (fact.picture !== nodes.picture) nodes.image.src = fact.picture; // comparing its address would copy megabytes
    nodes.picture = fact.picture;
  }

  /** @param {number} slot @returns {BoxNodes} */
  newBox(slot) {
    const image = /** @type {HTMLImageElement} */ (make("img", { alt: "", draggable: false, hidden: true }));
    const name = make("span", { className: "name" });
    const number = make("span", { className: "number" }, String(slot));
    const tag = make("span", { className: "tag" }, number, " ", name);
    // CSS shows this text, so that it does not become part of the box's accessible name.
    const invite = make("span", { className: "invite", "data-label": t("Drop a picture") });
    const aria = { role: "button", "aria-roledescription": t("movable region"), "aria-describedby": "keys" };
    const shape = make("span", { className: "shape", hidden: true });
    const root = make("div", { className: "box", tabIndex: 0, ...aria }, image, shape, invite, tag);
    root.dataset.slot = String(slot);
    root.style.setProperty("--c", colourOf(slot));
    root.addEventListener("focus", () => this.editor.choose(slot));
    root.addEventListener("dblclick", () => this.editor.fields.rename(slot));
    const nodes = { root, image, picture: "", shape, name, invite };
    this.boxes.set(slot, nodes);
    this.insert(slot, root);
    return nodes;
  }

  /**
   * Keeps the boxes in order of slots: Tab follows the numbers, not the layers.
   * @param {number} slot
   * @param {HTMLElement} root
   */
  insert(slot, root) {
    const later = [...this.boxes.keys()].filter((other) => other > slot);
    const next = Math.min(...later);
    this.root.insertBefore(root, this.boxes.get(next)?.root ?? this.frame);
  }

  /** @type {(slot: number, reveals?: boolean) => void} */
  focus(slot, reveals = true) {
    this.boxes.get(slot)?.root.focus({ preventScroll: true });
    if (reveals) this.editor.zoom.reveal(slot);
  }

  // -- pointer --------------------------------------------------------------------------------------------------------

  /** A press on a box or a handle. Ignores a second finger. @param {PointerEvent} event */
  grab(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const edges = target.dataset.edges;
    const slot = edges === undefined ? this.editor.slotOf(event) : this.editor.chosen;
    if (event.button !== 0 || this.gesture) return;
    if (!slot) return this.pressGround(event);
    event.preventDefault();
    this.focus(slot, false); // the box stays under the pointer
    this.editor.choose(slot);
    if (isLocked(this.editor.layout, slot)) return this.editor.answer(t("Subject {slot} is locked", { slot }));
    this.follow(event, slot, edges ?? "");
  }

  /**
   * A press beside the boxes deselects; a drag there draws a new box. Fingers scroll the page.
   * @param {PointerEvent} start
   */
  pressGround(start) {
    const { editor } = this;
    if (editor.chosen) editor.deselect();
    const facts = (/** @type {number} */ slot) => editor.fact(slot);
    const more = added(editor.layout, facts, editor.fields.slots);
    if (start.pointerType === "touch" || !more) return;
    start.preventDefault();
    const from = editor.layout;
    const [x, y] = this.pointOf(start);
    this.track(this.root, start, more.slot, (event) => {
      if (Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < FAR) return;
      const [right, bottom] = this.pointOf(event);
      const step = editor.snapping && !event.altKey ? TOKEN : 0;
      editor.chosen = more.slot;
      editor.preview(withNew(from, more.slot, gridded([x, y, right, bottom], editor.size, step)));
    });
  }

  /**
   * A place on the stage in fractions of the picture.
   * @type {(event: {clientX: number, clientY: number}) => [number, number]}
   */
  pointOf(event) {
    const { left, top, width, height } = this.root.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  /**
   * Follows the pointer until it is released.
   * @param {PointerEvent} start
   * @param {number} slot
   * @param {string} edges
   */
  follow(start, slot, edges) {
    const { root } = /** @type {BoxNodes} */ (this.boxes.get(slot));
    const [x, y] = this.pointOf(start);
    const from = this.editor.layout;
    this.track(root, start, slot, (event) => {
      const [toX, toY] = this.pointOf(event); // the stage may have scrolled
      /** @type {[number, number]} */
      const by = [toX - x, toY - y];
      const straight = event.shiftKey && edges.length === 2 ? inRatio(boxOf(from, slot), edges, by) : by;
      const free = event.altKey || straight !== by;
      this.editor.preview(this.dragged(from, slot, edges, straight, free));
    });
  }

  /**
   * Calls `move` while the pointer moves, and ends the gesture when it is released.
   * @type {(root: HTMLElement, start: PointerEvent, slot: number, move: (event: PointerEvent) => void) => void}
   */
  track(root, start, slot, move) {
    const listeners = new AbortController();
    const stop = (/** @type {boolean} */ cancelled) => {
      listeners.abort();
      this.gesture = null;
      this.editor.endPreview(cancelled);
    };
    this.gesture = { pointer: start.pointerId, slot, stop };
    root.setPointerCapture(start.pointerId);
    /**
     * @type {(kind: "pointermove" | "pointerup" | "pointercancel" | "lostpointercapture", listener: (event:
     * PointerEvent) => void) => void}
     */
    const listen = (kind, listener) => {
      const sameFinger = (/** @type {PointerEvent} */ event) => {
        if (event.pointerId === start.pointerId) listener(event);
      };
      root.addEventListener(kind, sameFinger, { signal: listeners.signal });
    };
    listen("pointermove", move);
    listen("pointerup", (event) => {
      const pressed = this.editor.previewed === null;
      stop(false);
      if (pressed && event.altKey) this.chooseBelow(slot, event);
    });
    listen("pointercancel", () => stop(true));
    listen("lostpointercapture", () => stop(true));
  }

  /** With Alt, a press goes through to the box below. @type {(slot: number, event: PointerEvent) => void} */
  chooseBelow(slot, event) {
    const { editor } = this;
    const under = slotsUnder(editor.layout, (other) => editor.fact(other), this.pointOf(event));
    const next = under[(under.indexOf(slot) + 1) % under.length];
    if (next) this.focus(next);
  }

  /** @type {(from: Layout, slot: number, edges: string, by: readonly [number, number], free: boolean) => Layout} */
  dragged(from, slot, edges, by, free) {
    const { size, snapping } = this.editor;
    const step = snapping && !free ? TOKEN : 0;
    const box = boxOf(from, slot);
    return withBox(from, slot, edges ? resized(box, edges, by, size, step) : moved(box, by, size, step));
  }

  // -- files dropped on a box -----------------------------------------------------------------------------------------

  /** @param {DragEvent} event */
  hover(event) {
    if (hasPictures(event.dataTransfer)) this.markDropTarget(this.targetOf(event));
  }

  /** The box that takes a file dropped here; 0: none. @param {DragEvent} event */
  targetOf(event) {
    const under = slotAt(this.editor.layout, (slot) => this.editor.fact(slot), this.pointOf(event));
    return under || this.editor.slotOf(event); // a script's event may have no place
  }

  /** @param {DragEvent} event */
  drop(event) {
    this.markDropTarget(0);
    const slot = this.targetOf(event);
    if (slot && hasPictures(event.dataTransfer)) this.editor.intake.onDrop(event, slot, true);
  }

  /** @param {number} target slot; 0: none */
  markDropTarget(target) {
    for (const [slot, { root }] of this.boxes) {
      root.classList.toggle("drop-target", slot === target);
      attribute(root, "data-drop", t("drop it into {slot}", { slot }));
    }
  }
}

/** The silhouettes that are drawn: reading a style back would copy them. @type {WeakMap<HTMLElement, string>} */
const shapes = new WeakMap();

/**
 * Shows the part of a box that its silhouette takes.
 * @type {(node: HTMLElement, box: Box, silhouette: string) => void}
 */
function drawShape(node, [x0, y0, x1, y1], silhouette) {
  node.hidden = !silhouette;
  if (!silhouette) return;
  const [width, height] = [x1 - x0, y1 - y0];
  if (shapes.get(node) !== silhouette) node.style.maskImage = `url(${silhouette})`;
  shapes.set(node, silhouette);
  node.style.maskSize = `${100 / width}% ${100 / height}%`;
  // A percentage places what the mask has beyond the box: 0 % its left edge, 100 % its right one.
  node.style.maskPosition = `${placeOf(x0, width)}% ${placeOf(y0, height)}%`;
}

/** @type {(start: number, share: number) => number} */
const placeOf = (start, share) => (share < 1 ? (start / (1 - share)) * 100 : 0);
