// One line over the stage that answers an action for a few seconds. Screen readers have the status line instead.

import { make, t, text, textButton } from "./dom.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

const SHOWN = 4000; // milliseconds

export class Toast {
  /** @param {Editor} editor */
  constructor(editor) {
    this.timer = 0;
    this.sentence = make("span");
    const undo = () => {
      this.hide();
      editor.undo();
    };
    this.undo = textButton(t("Undo"), undo, { tabIndex: -1 });
    this.root = make("div", { className: "toast", hidden: true, "aria-hidden": "true" }, this.sentence, this.undo);
  }

  /** @param {string} sentence @param {boolean} undoable whether "Undo" takes it back */
  show(sentence, undoable) {
    text(this.sentence, sentence);
    this.undo.hidden = !undoable;
    this.root.hidden = sentence === "";
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.hide(), SHOWN);
  }

  hide() {
    this.root.hidden = true;
  }
}
