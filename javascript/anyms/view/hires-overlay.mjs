// Shades the parts of the canvas that a hires fix of another aspect ratio crops.

import { make, outside, t } from "./dom.mjs?v=31cf827f";
import { hiresCrop } from "../host/page.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

export class HiresOverlay {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.shade = make("div", { className: "hires-shade", hidden: true, "aria-hidden": "true" });
    const note = t("The hires fix has another aspect ratio and crops the shaded parts.");
    this.root = make("div", { className: "hires-note", hidden: true }, note);
  }

  draw() {
    const { editor, shade } = this;
    if (shade.parentNode !== editor.canvas.root) editor.canvas.root.append(shade);
    const hostCrops = editor.shadow.host.getAttribute("hires") !== "stretches";
    const kept = hostCrops ? hiresCrop(editor.fields.tab, editor.size) : null;
    shade.hidden = kept === null;
    this.root.hidden = kept === null;
    if (kept) shade.style.clipPath = outside(kept);
  }
}
