// The question where a picture goes that was dropped on a box which has pictures already.

import { make, t, textButton } from "./dom.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

export class DropChoice {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.root = make("div", { className: "question", hidden: true });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // the host would interrupt its job
      this.close();
    });
  }

  /** @type {(slot: number, files: readonly File[]) => void} */
  open(slot, files) {
    const { intake } = this.editor;
    /** @type {[string, () => void][]} */
    const choices = [
      [t("Add to subject {slot}", { slot }), () => void intake.add(slot, files)],
      [t("Replace the pictures of subject {slot}", { slot }), () => void intake.add(slot, files, "", true)],
      [t("New subject"), () => void intake.offer(files, true)],
      [t("Cancel"), () => {}],
    ];
    const buttons = choices.map(([label, act]) =>
      textButton(label, () => {
        this.close();
        act();
      }),
    );
    const label = t("Subject {slot} has pictures. Where does this one go?", { slot });
    const sheet = make("div", { role: "dialog", "aria-label": label }, make("div", {}, label), ...buttons);
    this.root.replaceChildren(sheet);
    this.root.hidden = false;
    buttons[0].focus({ preventScroll: true });
  }

  close() {
    this.root.hidden = true;
    this.root.replaceChildren();
  }
}
