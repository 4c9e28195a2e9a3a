// The choice of the subject that gets a picture: for fingers, and for subjects that no digit names.

import { make, t, textButton } from "./dom.mjs?v=31cf827f";
import { movePicture } from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

export class GiveDialog {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.keeps = /** @type {HTMLInputElement} */ (make("input", { type: "checkbox" }));
    this.root = /** @type {HTMLDialogElement} */ (make("dialog", { className: "give-dialog" }));
    this.root.addEventListener("keydown", (event) => event.stopPropagation()); // Escape would interrupt the host's job
    this.root.addEventListener("close", () => this.root.replaceChildren());
  }

  /** @type {(slot: number, n: number) => void} */
  open(slot, n) {
    const { editor, keeps, root } = this;
    const label = t("Move picture {number} of subject {slot} to", { slot, number: n + 1 });
    const others = editor.layout.regions.filter((region) => region.slot !== slot).map((region) => region.slot);
    const choices = others.map((to) => this.newChoice(this.nameOf(to), slot, n, to));
    if (editor.layout.regions.length < editor.fields.slots) choices.push(this.newChoice(t("New subject"), slot, n, 0));
    keeps.checked = false;
    const keeping = make("label", {}, keeps, t("Keep it here, too"));
    const cancel = textButton(t("Cancel"), () => root.close());
    root.setAttribute("aria-label", label);
    root.replaceChildren(make("div", {}, label), make("div", { className: "choices" }, ...choices), keeping, cancel);
    root.showModal();
  }

  /** @param {number} slot */
  nameOf(slot) {
    const name = this.editor.fact(slot).name.trim();
    return name ? `${slot} ${name}` : t("subject {slot}", { slot });
  }

  /** @type {(label: string, slot: number, n: number, to: number) => HTMLButtonElement} */
  newChoice(label, slot, n, to) {
    return textButton(label, () => {
      this.root.close(); // gives the focus back
      movePicture(this.editor, slot, n, to, this.keeps.checked);
    });
  }
}
