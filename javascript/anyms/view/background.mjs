// A picture faint behind the boxes, to place them by: the last one made, img2img's own, one of the user's. It is never sent.

import { make, t } from "./dom.mjs?v=0.1.0";
import { chosenFiles } from "../host/files.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {keyof typeof SOURCES} Source */

const SOURCES = {
  none: "Nothing behind the boxes",
  last: "Last picture behind the boxes",
  input: "img2img's picture behind the boxes",
  file: "A picture from a file…",
};
const SHOWN = "img:not([aria-hidden=true])";

/** Of pictures on the page the first in about the wanted shape, else the first: a grid comes before its pictures.
 * @type {(images: readonly HTMLImageElement[], aspect: number) => HTMLImageElement | undefined} */
export function likest(images, aspect) {
  const loaded = images.filter((image) => image.naturalWidth > 1);
  return loaded.find((image) => Math.abs(image.naturalWidth / image.naturalHeight / aspect - 1) < 0.02) ?? loaded[0];
}

export class Background {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Source} */
    this.source = "none";
    this.own = ""; // the address of the user's file
    this.image = /** @type {HTMLImageElement} */ (make("img", { className: "ground", alt: "", hidden: true, draggable: false }));
    const sources = /** @type {Source[]} */ (Object.keys(SOURCES)).filter((source) => source !== "input" || editor.fields.tab === "img2img");
    const options = sources.map((source) => make("option", { value: source }, t(SOURCES[source])));
    this.select = /** @type {HTMLSelectElement} */ (make("select", { className: "behind", "aria-label": t("Picture behind the boxes") }, ...options));
    this.select.addEventListener("change", () => void this.choose(/** @type {Source} */ (this.select.value)));
    this.seen = new MutationObserver(() => this.draw());
    this.heard = () => this.draw(); // `load` does not bubble
  }

  /** @param {Source} source */
  async choose(source) {
    if (source === "file") {
      const [file] = await chosenFiles("image/*", false);
      if (this.own) URL.revokeObjectURL(this.own);
      this.own = file ? URL.createObjectURL(file) : "";
    }
    this.source = source;
    this.watch();
    this.draw();
    if (this.image.hidden && source !== "none") this.editor.say(t("There is no such picture yet; it appears when there is one."));
  }

  /** Where the host shows such pictures. */
  get place() {
    const { tab } = this.editor.fields;
    return { none: null, file: null, last: document.getElementById(`${tab}_gallery`), input: document.getElementById("mode_img2img") }[this.source];
  }

  watch() {
    this.seen.disconnect();
    this.watched?.removeEventListener("load", this.heard, true);
    this.watched = this.place;
    if (!this.watched) return;
    this.seen.observe(this.watched, { childList: true, subtree: true, attributes: true, attributeFilter: ["src"] });
    this.watched.addEventListener("load", this.heard, true);
  }

  /** @returns {string} "" where there is none */
  get address() {
    if (this.source === "file") return this.own;
    const images = [.../** @type {NodeListOf<HTMLImageElement>} */ (this.place?.querySelectorAll(SHOWN) ?? [])];
    const shown = this.source === "input" ? images.filter((image) => image.offsetParent) : images;
    return likest(shown, this.editor.size.width / this.editor.size.height)?.src ?? "";
  }

  draw() {
    const { address } = this;
    this.image.hidden = !address;
    if (address && this.image.src !== address) this.image.src = address;
  }
}
