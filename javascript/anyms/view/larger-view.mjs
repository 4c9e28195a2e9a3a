// The stage and its toolbar in a dialog that fills the window; the same elements, moved there and back.

import { attribute, make, t } from "./dom.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

export class LargerView {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    const properties = { className: "larger", "aria-label": t("Larger view") };
    this.root = /** @type {HTMLDialogElement} */ (make("dialog", properties));
    this.mark = document.createComment("the desk's place");
    this.root.addEventListener("close", () => this.putBack());
  }

  toggle() {
    if (this.root.open) return this.root.close();
    const { desk, zoom } = this.editor;
    zoom.across(() => {
      desk?.replaceWith(this.mark);
      if (desk) this.root.append(desk);
      this.root.showModal();
    });
    this.label(t("Close the larger view"));
  }

  putBack() {
    const { desk, zoom } = this.editor;
    zoom.across(() => {
      if (desk) this.mark.replaceWith(desk);
    });
    this.label(t("Larger view"));
    this.editor.toolbar.enlarge.focus({ preventScroll: true });
  }

  /** @param {string} label */
  label(label) {
    const { enlarge } = this.editor.toolbar;
    enlarge.title = label;
    attribute(enlarge, "aria-label", label);
  }
}
