// The picture's shape with all boxes on it, and what a mouse, a pen or a finger does there.

import { moved, resized, TOKEN } from "../model/boxes.mjs?v=0.1.0";
import { attribute, colourOf, make, t, text } from "./dom.mjs?v=0.1.0";
import { bringsPictures } from "../host/files.mjs?v=0.1.0";
import { boxOf, isFilled, isOff, withBox } from "../model/layout.mjs?v=0.1.0";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {{root: HTMLElement, image: HTMLImageElement, name: HTMLElement, invite: HTMLElement}} Drawn */

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w", ""]; // the last one moves, in the middle: for a box others cover

/** @type {(box: Box) => Partial<CSSStyleDeclaration>} */
const placed = (box) => ({
  left: `${box[0] * 100}%`,
  top: `${box[1] * 100}%`,
  width: `${(box[2] - box[0]) * 100}%`,
  height: `${(box[3] - box[1]) * 100}%`,
});

export class Stage {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Map<number, Drawn>} */
    this.boxes = new Map();
    /** @type {{pointer: number, slot: number, stop: (cancelled: boolean) => void} | null} */
    this.gesture = null;
    const handles = HANDLES.map((edges) => {
      const handle = make("span", { className: "handle" });
      handle.dataset.edges = edges;
      return handle;
    });
    this.frame = make("div", { className: "frame", hidden: true, "aria-hidden": "true" }, ...handles);
    this.root = make("div", { className: "stage", role: "group" }, editor.background.image, this.frame);
    this.root.addEventListener("pointerdown", (event) => this.grab(event));
    this.root.addEventListener("dragover", (event) => this.hover(event));
    this.root.addEventListener("dragleave", () => this.mark(0));
    this.root.addEventListener("drop", (event) => this.drop(event));
  }

  draw() {
    const { layout, size, chosen, snapping, order } = this.editor;
    this.root.style.setProperty("--aspect", String(size.width / size.height));
    this.root.style.setProperty("--column", String(TOKEN / size.width));
    this.root.style.setProperty("--row", String(TOKEN / size.height));
    this.root.classList.toggle("snapping", snapping);
    this.editor.background.draw();
    attribute(this.root, "aria-label", `${t("Regions of the picture")}, ${size.width} × ${size.height}`);
    for (const { slot } of layout.regions) this.drawBox(slot, order.indexOf(slot));
    for (const [slot, { root }] of this.boxes) {
      if (order.includes(slot)) continue;
      root.remove();
      this.boxes.delete(slot);
    }
    this.frame.hidden = !order.includes(chosen);
    Object.assign(this.frame.style, placed(boxOf(layout, chosen)));
    this.frame.style.setProperty("--c", colourOf(chosen || 1));
  }

  /** @param {number} slot @param {number} layer */
  drawBox(slot, layer) {
    const { layout, chosen } = this.editor;
    const drawn = this.boxes.get(slot) ?? this.newBox(slot);
    const fact = this.editor.fact(slot);
    Object.assign(drawn.root.style, placed(boxOf(layout, slot)), { zIndex: String(layer) });
    drawn.root.classList.toggle("empty", !isFilled(fact));
    drawn.root.classList.toggle("off", isOff(layout, slot));
    attribute(drawn.root, "aria-label", this.editor.describe(slot));
    attribute(drawn.root, "aria-pressed", String(slot === chosen));
    text(drawn.name, fact.name.trim());
    drawn.invite.hidden = fact.picture !== "";
    drawn.image.hidden = fact.picture === "";
    if (fact.picture) attribute(drawn.image, "src", fact.picture);
  }

  /** @param {number} slot @returns {Drawn} */
  newBox(slot) {
    const image = /** @type {HTMLImageElement} */ (make("img", { alt: "", draggable: false, hidden: true }));
    const name = make("span", { className: "name" });
    const tag = make("span", { className: "tag" }, make("span", { className: "number" }, String(slot)), " ", name);
    const invite = make("span", { className: "invite", "data-words": t("Drop a picture") }); // by CSS: it is no part of the name
    const root = make(
      "div",
      { className: "box", tabIndex: 0, role: "button", "aria-roledescription": t("movable region"), "aria-describedby": "keys" },
      image,
      invite,
      tag,
    );
    root.dataset.slot = String(slot);
    root.style.setProperty("--c", colourOf(slot));
    root.addEventListener("focus", () => this.editor.choose(slot));
    const drawn = { root, image, name, invite };
    this.boxes.set(slot, drawn);
    const next = [...this.boxes.keys()].filter((other) => other > slot).sort((a, b) => a - b)[0];
    this.root.insertBefore(root, this.boxes.get(next)?.root ?? this.frame); // Tab goes by number, not by layer
    return drawn;
  }

  /** @param {number} slot */
  focus(slot) {
    this.boxes.get(slot)?.root.focus({ preventScroll: true });
  }

  /** A press on a box or handle; a second finger changes nothing. @param {PointerEvent} event */
  grab(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const edges = target.dataset.edges;
    const slot = edges === undefined ? Number(target.closest(".box")?.getAttribute("data-slot")) : this.editor.chosen;
    if (!slot || event.button !== 0 || this.gesture) return;
    event.preventDefault();
    this.focus(slot);
    this.editor.choose(slot);
    this.follow(event, slot, edges ?? "");
  }

  /** @param {PointerEvent} event @param {number} slot @param {string} edges */
  follow(event, slot, edges) {
    const drawn = /** @type {Drawn} */ (this.boxes.get(slot));
    const area = this.root.getBoundingClientRect();
    const from = this.editor.layout;
    const over = new AbortController();
    /** @type {(cancelled: boolean) => void} */
    const stop = (cancelled) => {
      over.abort();
      this.gesture = null;
      this.editor.endPreview(cancelled);
    };
    this.gesture = { pointer: event.pointerId, slot, stop };
    drawn.root.setPointerCapture(event.pointerId);
    /** @type {(kind: string, does: (event: PointerEvent) => void) => void} */
    const on = (kind, does) =>
      drawn.root.addEventListener(
        kind,
        (next) => {
          if (/** @type {PointerEvent} */ (next).pointerId === event.pointerId) does(/** @type {PointerEvent} */ (next));
        },
        { signal: over.signal },
      );
    on("pointermove", (next) => {
      const by = /** @type {const} */ ([(next.clientX - event.clientX) / area.width, (next.clientY - event.clientY) / area.height]);
      this.editor.preview(this.dragged(from, slot, edges, by, next.altKey));
    });
    on("pointerup", () => stop(false));
    on("pointercancel", () => stop(true));
    on("lostpointercapture", () => stop(true));
  }

  /** @type {(from: Layout, slot: number, edges: string, by: readonly [number, number], free: boolean) => Layout} */
  dragged(from, slot, edges, by, free) {
    const { size, snapping } = this.editor;
    const step = snapping && !free ? TOKEN : 0;
    const box = boxOf(from, slot);
    return withBox(from, slot, edges ? resized(box, edges, by, size, step) : moved(box, by, size, step));
  }

  /** @param {DragEvent} event */
  hover(event) {
    if (bringsPictures(event.dataTransfer)) this.mark(this.editor.slotOf(event));
  }

  /** Onto the topmost box under it. @param {DragEvent} event */
  drop(event) {
    this.mark(0);
    const slot = this.editor.slotOf(event);
    if (slot && bringsPictures(event.dataTransfer)) this.editor.giving.dropped(event, slot);
  }

  /** @param {number} taking */
  mark(taking) {
    for (const [slot, { root }] of this.boxes) root.classList.toggle("taking", slot === taking);
  }
}
