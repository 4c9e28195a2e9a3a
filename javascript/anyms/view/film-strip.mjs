// The film strip: one chip a subject, topmost first, and a last one that adds a subject or takes a picture.

import { attribute, button, colourOf, make, t, text } from "./dom.mjs?v=31cf827f";
import { hasPictures } from "../host/files.mjs?v=31cf827f";
import { isOff } from "../model/layout.mjs?v=31cf827f";
import * as verbs from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/**
 * @typedef {{root: HTMLElement, chip: HTMLElement, image: HTMLImageElement, picture: string, name: HTMLElement,
 * visibility: HTMLElement}} Item
 */

const FAR = 6; // pixels that make a press a drag

export class FilmStrip {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Map<number, Item>} */
    this.items = new Map();
    this.list = make("ol", { className: "subjects", "aria-label": t("Subjects, topmost first") });
    this.more = button("add", t("Add a subject, or drop its picture here"), () => verbs.add(editor));
    this.more.className = "add-chip";
    this.more.append(make("span", { "aria-hidden": "true" }, t("drop a picture")));
    this.root = make("div", { className: "strip" }, this.list, this.more);
    this.root.addEventListener("dragover", (event) => {
      this.more.classList.toggle("drop-target", hasPictures(event.dataTransfer));
    });
    for (const kind of ["dragleave", "drop"]) {
      this.root.addEventListener(kind, () => this.more.classList.remove("drop-target"));
    }
  }

  draw() {
    const focused = /** @type {HTMLElement | null} */ (this.editor.shadow.activeElement);
    const topmost = [...this.editor.order].reverse();
    const roots = topmost.map((slot) => this.drawItem(slot));
    for (const slot of this.items.keys()) {
      if (!topmost.includes(slot)) this.items.delete(slot);
    }
    const { children } = this.list;
    this.more.disabled = roots.length >= this.editor.fields.slots;
    if (roots.length === children.length && roots.every((root, n) => root === children[n])) return;
    this.list.replaceChildren(...roots); // takes the focus away
    if (focused && this.list.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** @param {number} slot @returns {HTMLElement} */
  drawItem(slot) {
    const item = this.items.get(slot) ?? this.newItem(slot);
    const { layout, chosen, inspected } = this.editor;
    const { name, picture } = this.editor.fact(slot);
    text(item.name, name.trim() || t("subject {slot}", { slot }));
    item.name.classList.toggle("unnamed", !name.trim());
    const [wasChosen, isChosen] = [item.root.classList.contains("chosen"), slot === chosen];
    item.root.classList.toggle("chosen", isChosen);
    item.root.classList.toggle("inspected", slot === inspected);
    if (isChosen && !wasChosen) this.reveal(item);
    attribute(item.chip, "aria-current", String(slot === inspected));
    item.root.classList.toggle("off", isOff(layout, slot));
    item.image.hidden = picture === "";
    if (picture !== item.picture) item.image.src = picture; // comparing the image's address would copy megabytes
    item.picture = picture;
    this.drawVisibility(slot, item);
    return item.root;
  }

  /** Scrolls the strip, not the page. @param {Item} item */
  reveal({ root }) {
    const { root: strip } = this;
    const [left, right] = [root.offsetLeft, root.offsetLeft + root.offsetWidth];
    if (left < strip.scrollLeft) strip.scrollLeft = left;
    else if (right > strip.scrollLeft + strip.clientWidth) strip.scrollLeft = right - strip.clientWidth;
  }

  /** @param {number} slot @param {Item} item */
  drawVisibility(slot, item) {
    const share = this.editor.shares.get(slot) ?? null;
    const percent = Math.round((share ?? 0) * 100);
    text(item.visibility, stateOf(share, percent, isOff(this.editor.layout, slot)));
    item.visibility.classList.toggle("hidden", share !== null && percent === 0);
  }

  /** @param {number} slot @returns {Item} */
  newItem(slot) {
    const { editor } = this;
    const image = /** @type {HTMLImageElement} */ (make("img", { alt: "", draggable: false, hidden: true }));
    const name = make("span", { className: "name" });
    const visibility = make("span", { className: "visibility" });
    const number = make("span", { className: "number" }, String(slot));
    const title = make("span", { className: "identity" }, number, " ", name);
    const frame = make("span", { className: "frame-of" }, image);
    const choose = () => {
      editor.choose(slot);
      editor.zoom.reveal(slot);
    };
    const listeners = { onclick: choose, onfocus: choose };
    const properties = { type: "button", className: "chip", "data-slot": String(slot), ...listeners };
    const chip = make("button", properties, frame, title, " ", visibility);
    const root = make("li", { className: "subject", "data-slot": String(slot) }, chip);
    root.style.setProperty("--c", colourOf(slot));
    chip.addEventListener("pointerdown", (event) => this.grab(event, slot));
    const item = { root, chip, image, picture: "", name, visibility };
    this.items.set(slot, item);
    return item;
  }

  /**
   * Drags a chip to another layer. Fingers scroll the strip instead.
   * @type {(start: PointerEvent, slot: number) => void}
   */
  grab(start, slot) {
    if (start.button !== 0 || start.pointerType === "touch") return;
    const listeners = new AbortController();
    const { signal } = listeners;
    let dragged = false;
    const move = (/** @type {PointerEvent} */ event) => {
      dragged ||= Math.abs(event.clientX - start.clientX) > FAR;
      if (dragged) this.mark(this.under(event));
    };
    const end = (/** @type {PointerEvent} */ event) => {
      listeners.abort();
      this.mark(0);
      if (dragged && event.type === "pointerup") this.moveTo(slot, this.under(event));
    };
    document.addEventListener("pointermove", move, { signal });
    for (const kind of /** @type {const} */ (["pointerup", "pointercancel"])) {
      document.addEventListener(kind, end, { signal });
    }
  }

  /** The slot whose chip is under the pointer; 0: none. @param {PointerEvent} event */
  under({ clientX, clientY }) {
    for (const [slot, { root }] of this.items) {
      const { left, right, top, bottom } = root.getBoundingClientRect();
      if (left <= clientX && clientX < right && top - 20 <= clientY && clientY < bottom + 20) return slot;
    }
    return 0;
  }

  /** @param {number} target slot; 0: none */
  mark(target) {
    for (const [slot, { root }] of this.items) root.classList.toggle("drop-target", slot === target);
  }

  /** @type {(slot: number, target: number) => void} */
  moveTo(slot, target) {
    const { editor } = this;
    const steps = editor.order.indexOf(target) - editor.order.indexOf(slot);
    if (target && steps) verbs.layer(editor, slot, steps);
  }
}

/** @type {(share: number | null, percent: number, off: boolean) => string} */
function stateOf(share, percent, off) {
  if (off) return t("off");
  if (share === null) return t("no picture yet");
  return percent ? t("{percent} % visible", { percent }) : t("hidden");
}
