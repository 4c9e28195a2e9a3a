// The pictures of each slot, drawn in its card: add by choosing, dropping or pasting; the first one stands for the subject.

import { isCard } from "../model/mask.mjs?v=0.1.0";
import { button, colourOf, make, t, text } from "./dom.mjs?v=0.1.0";
import { bringsPictures } from "../host/files.mjs?v=0.1.0";
import { allSlots } from "../model/order.mjs?v=0.1.0";
import { advanced, MOST, without } from "../model/pictures.mjs?v=0.1.0";
import { STYLES } from "./styles.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */

const LOOK = `
:host { margin: 0; }
.place { display: grid; grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)); gap: 5px; padding: 5px; border: 1px dashed var(--line);
  align-content: start; min-height: 186px; border-radius: 8px; background: var(--field); }
.place:focus-within { border-color: var(--accent); }
.place.taking { border-color: var(--c); box-shadow: 0 0 0 2px var(--c); }
.thumbs { display: contents; list-style: none; }
.thumb { position: relative; height: 84px; border-radius: 5px; overflow: hidden; background: var(--soft); }
.place.one .thumb { grid-column: 1 / -1; height: 132px; }
.thumb img { display: block; width: 100%; height: 100%; object-fit: contain; }
.thumb .cut { position: absolute; inset: 0; width: 100%; height: 100%; border: 0; background: transparent; }
.thumb .cut:hover::after { content: ""; position: absolute; inset: 0; box-shadow: inset 0 0 0 2px var(--accent); border-radius: 5px; }
.thumb .does { position: absolute; right: 3px; top: 3px; display: flex; gap: 3px; }
.thumb button { min-width: 26px; min-height: 26px; padding: 0; background: #14171ccc; color: #fff; border-color: #fff6; }
.thumb button:focus-visible { outline-color: #fff; outline-offset: -3px; }
.more { min-height: 36px; white-space: normal; border-style: none; background: transparent; color: var(--quiet); line-height: 1.25; }
.more svg { color: var(--accent); stroke-width: 2; }
.place.none .more { grid-column: 1 / -1; min-height: 174px; flex-direction: column; gap: 8px; }
.place.one .more { grid-column: 1 / -1; }
.place.full .more { display: none; }
.count { display: flex; justify-content: space-between; padding: 2px 2px 0; font-size: 12px; color: var(--quiet); min-height: 20px; }
@media (pointer: coarse) { .thumb { height: 112px; } .thumb .does { gap: 6px; } .thumb button { min-width: 44px; min-height: 44px; }
  .place { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); } .more { min-height: 48px; } }
`;

/** @typedef {{place: HTMLElement, list: HTMLElement, more: HTMLButtonElement, words: HTMLElement, count: HTMLElement, input: HTMLInputElement, drawn: Pictures}} Card */

export class Thumbs {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    const looks = [STYLES, LOOK].map((rules) => {
      const look = new CSSStyleSheet();
      look.replaceSync(rules);
      return look;
    });
    /** @type {Card[]} */
    this.cards = allSlots(editor.fields.slots).map((slot) => this.newCard(slot, looks));
  }

  draw() {
    this.cards.forEach((card, n) => this.drawCard(n + 1, card));
  }

  /** @param {number} slot @param {Card} card */
  drawCard(slot, card) {
    const pictures = this.editor.fields.pictures(slot);
    if (pictures.length === card.drawn.length && pictures.every((picture, n) => picture === card.drawn[n])) return;
    const focused = /** @type {ShadowRoot} */ (card.place.getRootNode()).activeElement;
    const at = [...card.list.children].findIndex((thumb) => thumb.contains(focused));
    card.drawn = pictures;
    card.list.replaceChildren(...pictures.map((picture, n) => this.newThumb(slot, picture, n)));
    for (const [name, is] of Object.entries({ none: !pictures.length, one: pictures.length === 1, full: pictures.length >= MOST })) card.place.classList.toggle(name, is);
    text(card.words, t(pictures.length ? "Add a picture" : "Drop, paste or choose pictures"));
    text(card.count, pictures.length > 1 ? `${pictures.length} ${t("pictures of one subject")}` : "");
    if (at >= 0) this.focus(card, at, focused?.matches(".cut") ? ".cut" : "button:last-child");
  }

  /** Where the focus was, or as near as may be. @param {Card} card @param {number} n @param {string} which of its buttons */
  focus(card, n, which) {
    const near = card.list.children[Math.min(n, card.list.children.length - 1)];
    /** @type {HTMLElement} */ (near?.querySelector(which) ?? card.more).focus({ preventScroll: true });
  }

  /** @type {(slot: number, looks: CSSStyleSheet[]) => Card} */
  newCard(slot, looks) {
    const { editor } = this;
    const input = /** @type {HTMLInputElement} */ (make("input", { type: "file", accept: "image/*", multiple: true, hidden: true, tabIndex: -1 }));
    const list = make("ul", { className: "thumbs", "aria-label": `${t("Pictures of subject")} ${slot}` });
    const more = button("add", "Add pictures of subject", () => input.click(), { slot });
    const words = make("span");
    more.className = "more";
    more.append(words);
    const place = make("div", { className: "place none", role: "group", "aria-label": `${t("Pictures of subject")} ${slot}` }, list, more, input);
    const count = make("div", { className: "count" });
    place.style.setProperty("--c", colourOf(slot));
    input.addEventListener("change", () => {
      void editor.giving.give(slot, [...(input.files ?? [])]);
      input.value = ""; // the same file once more is news, too
    });
    const host = document.createElement("div");
    const shadow = host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = looks;
    shadow.append(place, count);
    shadow.addEventListener("keydown", (event) => editor.key(/** @type {KeyboardEvent} */ (event))); // undo where a picture was removed
    shadow.addEventListener("paste", (event) => editor.giving.pasted(/** @type {ClipboardEvent} */ (event), slot));
    this.takeDrops(slot, place);
    text(words, t("Drop, paste or choose pictures"));
    editor.fields.place(slot).replaceChildren(host);
    return { place, list, more, words, count, input, drawn: [] };
  }

  /** @param {number} slot @param {HTMLElement} place */
  takeDrops(slot, place) {
    place.addEventListener("dragover", (event) => {
      if (!bringsPictures(event.dataTransfer)) return;
      event.preventDefault();
      event.stopPropagation();
      place.classList.add("taking");
    });
    place.addEventListener("dragleave", () => place.classList.remove("taking"));
    place.addEventListener("drop", (event) => {
      place.classList.remove("taking");
      this.editor.giving.dropped(event, slot);
    });
  }

  /** @type {(slot: number, picture: string, n: number) => HTMLElement} */
  newThumb(slot, picture, n) {
    const { editor } = this;
    const image = make("img", { src: picture, alt: `${t("Picture")} ${n + 1} ${t("of subject")} ${slot}`, draggable: false });
    const words = `${t("Cut picture")} ${n + 1} ${t("of subject")} ${slot}`;
    const open = () => void editor.cutting.open(slot, n);
    const shown = isCard(picture) ? image : make("button", { className: "cut", type: "button", title: t("Cut it, or erase what is not the subject"), "aria-label": words, onclick: open }, image);
    const change = (/** @type {(pictures: Pictures, n: number) => Pictures} */ by, /** @type {string} */ words) =>
      editor.giving.set(slot, by(editor.fields.pictures(slot), n), `${t(words)} ${slot}`);
    const named = (/** @type {string} */ words) => `${t(words)} ${n + 1} ${t("of subject")}`;
    const forward = n ? [button("left", named("Move forward picture"), () => change(advanced, "Moved a picture of subject"), { slot })] : [];
    const remove = button("remove", named("Remove picture"), () => change(without, "Removed a picture of subject"), { slot });
    return make("li", { className: "thumb" }, shown, make("div", { className: "does" }, ...forward, remove));
  }
}
