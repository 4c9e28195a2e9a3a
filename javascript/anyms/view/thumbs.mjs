// The pictures of each slot, shown in its card: add them by choosing, dropping or pasting. The first one is shown in
// the box.

import { isCard } from "../model/mask.mjs?v=31cf827f";
import { button, colourOf, icon, make, styleSheet, t, text } from "./dom.mjs?v=31cf827f";
import { hasPictures } from "../host/files.mjs?v=31cf827f";
import { samePictures, shows, slotAt } from "../model/layout.mjs?v=31cf827f";
import { advanced, MAX_PICTURES, without } from "../model/pictures.mjs?v=31cf827f";
import { STYLES } from "./styles.mjs?v=31cf827f";
import { THUMB_STYLES } from "./thumb-styles.mjs?v=31cf827f";
import { movePicture } from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */
/**
 * @typedef {{place: HTMLElement, list: HTMLElement, more: HTMLButtonElement, moreText: HTMLElement, count: HTMLElement,
 * drawn: Pictures}} Card
 */

const NEW = -1; // the film strip's last chip, which adds a subject
const FAR = 6; // pixels that make a press a drag
const INVITATION = "Drop, paste or choose pictures";

export class Thumbs {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.sheets = [STYLES, THUMB_STYLES].map(styleSheet);
    /** Of slots that were shown at least once. @type {Map<number, Card>} */
    this.cards = new Map();
  }

  draw() {
    for (const { slot } of this.editor.layout.regions) {
      if (!this.cards.has(slot)) this.cards.set(slot, this.newCard(slot, this.sheets));
    }
    for (const [slot, card] of this.cards) this.drawCard(slot, card);
  }

  /** @param {number} slot @param {Card} card */
  drawCard(slot, card) {
    const pictures = this.editor.fields.pictures(slot);
    if (samePictures(pictures, card.drawn)) return;
    const focused = /** @type {ShadowRoot} */ (card.place.getRootNode()).activeElement;
    const at = [...card.list.children].findIndex((thumb) => thumb.contains(focused));
    card.drawn = pictures;
    card.list.replaceChildren(...pictures.map((picture, n) => this.newThumb(slot, picture, n)));
    const count = pictures.length;
    card.place.classList.toggle("none", count === 0);
    card.place.classList.toggle("one", count === 1);
    card.place.classList.toggle("full", count >= MAX_PICTURES);
    text(card.moreText, t(count ? "Add a picture" : INVITATION));
    text(card.count, count > 1 ? t("{count} pictures of one subject", { count }) : "");
    if (at >= 0) this.focus(card, at, focused?.matches(".crop") ? ".crop" : "button:last-child");
  }

  /**
   * Focuses the thumb that took the place of number `n`.
   * @param {Card} card
   * @param {number} n
   * @param {string} button
   */
  focus(card, n, button) {
    const thumb = card.list.children[Math.min(n, card.list.children.length - 1)];
    const target = /** @type {HTMLElement | null | undefined} */ (thumb?.querySelector(button));
    (target ?? card.more).focus({ preventScroll: true });
  }

  /** @type {(slot: number, sheets: CSSStyleSheet[]) => Card} */
  newCard(slot, sheets) {
    const { editor } = this;
    const input = this.newInput(slot);
    const label = t("Pictures of subject {slot}", { slot });
    const list = make("ul", { className: "thumbs", "aria-label": label });
    const moreText = make("span", {}, t(INVITATION));
    const more = button("add", t("Add pictures to subject {slot}", { slot }), () => input.click());
    more.className = "more";
    more.append(moreText);
    const place = make("div", { className: "place none", role: "group", "aria-label": label }, list, more, input);
    place.style.setProperty("--c", colourOf(slot));
    const count = make("div", { className: "count" });
    const host = document.createElement("div");
    const shadow = host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = sheets;
    shadow.append(place, count);
    this.listen(slot, shadow, place);
    editor.fields.pictureArea(slot).replaceChildren(host);
    return { place, list, more, moreText, count, drawn: [] };
  }

  /** @param {number} slot */
  newInput(slot) {
    const properties = { type: "file", accept: "image/*", multiple: true, hidden: true, tabIndex: -1 };
    const input = /** @type {HTMLInputElement} */ (make("input", properties));
    input.addEventListener("change", () => {
      void this.editor.intake.add(slot, [...(input.files ?? [])]);
      input.value = ""; // so that choosing the same file again is a change
    });
    return input;
  }

  /** @param {number} slot @param {ShadowRoot} shadow @param {HTMLElement} place */
  listen(slot, shadow, place) {
    const { editor } = this;
    // Undo must work right where a picture was removed.
    shadow.addEventListener("keydown", (event) => editor.key(/** @type {KeyboardEvent} */ (event)));
    shadow.addEventListener("paste", (event) => editor.intake.onPaste(/** @type {ClipboardEvent} */ (event), slot));
    place.addEventListener("dragover", (event) => {
      if (!hasPictures(event.dataTransfer)) return;
      event.preventDefault();
      event.stopPropagation();
      place.classList.add("drop-target");
    });
    place.addEventListener("dragleave", () => place.classList.remove("drop-target"));
    place.addEventListener("drop", (event) => {
      place.classList.remove("drop-target");
      editor.intake.onDrop(event, slot);
    });
  }

  /** @type {(slot: number, picture: string, n: number) => HTMLElement} */
  newThumb(slot, picture, n) {
    const { editor } = this;
    const number = n + 1;
    const values = { slot, number };
    const alt = t("Picture {number} of subject {slot}", values);
    const image = make("img", { src: picture, alt, draggable: false });
    const content = isCard(picture) ? image : this.newCropButton(slot, n, image);
    /** @type {(edit: (pictures: Pictures, n: number) => Pictures, announcement: string) => void} */
    const change = (edit, announcement) => {
      editor.intake.set(slot, edit(editor.fields.pictures(slot), n), t(announcement, values));
    };
    const actions = make("div", { className: "actions" });
    if (n > 0) {
      const label = t("Move picture {number} of subject {slot} forward", values);
      actions.append(button("left", label, () => change(advanced, "Moved a picture of subject {slot}")));
    }
    const label = t("Remove picture {number} of subject {slot}", values);
    actions.append(button("remove", label, () => change(without, "Removed a picture of subject {slot}")));
    const toOther = t("Move picture {number} of subject {slot} to another subject", values);
    const give = button("give", toOther, () => editor.giveDialog.open(slot, n));
    give.classList.add("give");
    const thumb = make("li", { className: "thumb" }, content, give, actions);
    thumb.addEventListener("pointerdown", (event) => this.grab(event, slot, n));
    thumb.addEventListener("keydown", (event) => {
      const to = Number(/^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1]); // a Mac's Alt+2 has the key "™"
      if (!event.altKey || !to || !shows(editor.layout, to)) return;
      event.preventDefault();
      movePicture(editor, slot, n, to, isCopy(event));
    });
    return thumb;
  }

  /**
   * Drags a picture to another subject's box or chip; with Ctrl it stays here, too. Fingers scroll the list instead.
   * @type {(start: PointerEvent, slot: number, n: number) => void}
   */
  grab(start, slot, n) {
    if (start.button !== 0 || start.pointerType === "touch") return;
    const listeners = new AbortController();
    const { signal } = listeners;
    let [dragged, cancelled] = [false, false];
    const move = (/** @type {PointerEvent} */ event) => {
      dragged ||= Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > FAR;
      if (dragged && !cancelled) this.mark(this.under(event));
    };
    const end = (/** @type {PointerEvent} */ event) => {
      listeners.abort();
      this.mark(0);
      if (!dragged) return;
      const to = cancelled || event.type === "pointercancel" ? 0 : this.under(event);
      const act = () => to && movePicture(this.editor, slot, n, to === NEW ? 0 : to, isCopy(event));
      withoutClick(act);
    };
    const key = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // the host would interrupt its job
      cancelled = true;
      this.mark(0);
    };
    document.addEventListener("pointermove", move, { signal });
    document.addEventListener("pointerup", end, { signal });
    document.addEventListener("pointercancel", end, { signal });
    document.addEventListener("keydown", key, { signal, capture: true });
  }

  /** Shows where a dragged picture would go. @param {number} target slot, NEW, or 0: nowhere */
  mark(target) {
    const { canvas, filmStrip } = this.editor;
    filmStrip.mark(target);
    filmStrip.more.classList.toggle("drop-target", target === NEW);
    canvas.markDropTarget(target);
  }

  /** The subject whose chip or box is under the pointer, or NEW; 0: none. @param {PointerEvent} event */
  under(event) {
    const { canvas, filmStrip, layout } = this.editor;
    const isNew = event.composedPath().includes(filmStrip.more);
    if (!this.editor.zoom.isUnder(event)) return isNew ? NEW : filmStrip.under(event);
    return slotAt(layout, (slot) => this.editor.fact(slot), canvas.pointOf(event));
  }

  /** @type {(slot: number, n: number, image: HTMLElement) => HTMLElement} */
  newCropButton(slot, n, image) {
    const label = t("Crop picture {number} of subject {slot}", { slot, number: n + 1 });
    const title = t("Crop it, or erase everything but the subject");
    const onclick = () => void this.editor.cropDialog.open(slot, n);
    const scissors = make("span", { className: "scissors" }, icon("crop"));
    return make("button", { className: "crop", type: "button", title, "aria-label": label, onclick }, image, scissors);
  }
}

/** Whether a picture also stays where it is. @param {MouseEvent | KeyboardEvent} event */
const isCopy = (event) => event.ctrlKey || event.metaKey;

/** Acts after the click that ends a drag; the click would open the crop dialog. @param {() => void} act */
function withoutClick(act) {
  const swallow = (/** @type {Event} */ click) => click.stopPropagation();
  document.addEventListener("click", swallow, { capture: true });
  setTimeout(() => {
    document.removeEventListener("click", swallow, { capture: true });
    act();
  });
}
