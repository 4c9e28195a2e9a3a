// A faint picture behind the boxes, to place them by: the last picture, img2img's input, or a file of the user. It is
// never sent.

import { make, t } from "./dom.mjs?v=31cf827f";
import { chooseFiles } from "../host/files.mjs?v=31cf827f";
import { gallery, inputPictures } from "../host/page.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {keyof typeof SOURCES} Source */

const SOURCES = {
  none: "Background: none",
  last: "Background: last picture",
  input: "Background: img2img's picture",
  file: "Background: a file…",
};
const VISIBLE = "img:not([aria-hidden=true])";

/**
 * The first loaded image of about this aspect, else the first one. A gallery shows a grid before its pictures.
 * @type {(images: readonly HTMLImageElement[], aspect: number) => HTMLImageElement | undefined}
 */
export function closestAspect(images, aspect) {
  const loaded = images.filter((image) => image.naturalWidth > 1);
  const close = loaded.find((image) => Math.abs(image.naturalWidth / image.naturalHeight / aspect - 1) < 0.02);
  return close ?? loaded[0];
}

export class Background {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Source} */
    this.source = "none";
    this.fileAddress = ""; // object URL of the user's file
    const properties = { className: "background", alt: "", hidden: true, draggable: false };
    this.image = /** @type {HTMLImageElement} */ (make("img", properties));
    this.select = this.newSelect();
    this.observer = new MutationObserver(() => this.draw());
    this.onLoad = () => this.draw();
  }

  newSelect() {
    const sources = /** @type {Source[]} */ (Object.keys(SOURCES));
    const options = sources
      .filter((source) => source !== "input" || this.editor.fields.tab === "img2img")
      .map((source) => make("option", { value: source }, t(SOURCES[source])));
    const properties = { className: "background-source", "aria-label": t("Picture behind the boxes") };
    const select = /** @type {HTMLSelectElement} */ (make("select", properties, ...options));
    select.addEventListener("change", () => void this.choose(/** @type {Source} */ (select.value)));
    return select;
  }

  /** @param {Source} source */
  async choose(source) {
    if (source === "file") {
      const [file] = await chooseFiles("image/*", false);
      if (this.fileAddress) URL.revokeObjectURL(this.fileAddress);
      this.fileAddress = file ? URL.createObjectURL(file) : "";
    }
    this.source = source;
    this.watch();
    this.draw();
    if (this.image.hidden && source !== "none") {
      this.editor.answer(t("There is no such picture yet. It will appear when there is one."));
    }
  }

  /** The host's element with pictures of this source. */
  get pictureArea() {
    if (this.source === "last") return gallery(this.editor.fields.tab);
    return this.source === "input" ? inputPictures() : null;
  }

  watch() {
    this.observer.disconnect();
    this.watched?.removeEventListener("load", this.onLoad, true);
    this.watched = this.pictureArea;
    if (!this.watched) return;
    this.observer.observe(this.watched, { childList: true, subtree: true, attributes: true, attributeFilter: ["src"] });
    this.watched.addEventListener("load", this.onLoad, true); // `load` does not bubble, so capture it
  }

  /** "" if there is no picture. @returns {string} */
  get address() {
    if (this.source === "file") return this.fileAddress;
    /** @type {NodeListOf<HTMLImageElement> | undefined} */
    const nodes = this.pictureArea?.querySelectorAll(VISIBLE);
    const images = [...(nodes ?? [])].filter((image) => this.source !== "input" || image.offsetParent);
    return closestAspect(images, this.editor.size.width / this.editor.size.height)?.src ?? "";
  }

  draw() {
    const { address } = this;
    this.image.hidden = !address;
    this.editor.canvas?.root.classList.toggle("over-picture", Boolean(address));
    if (address && this.image.src !== address) this.image.src = address;
  }
}
