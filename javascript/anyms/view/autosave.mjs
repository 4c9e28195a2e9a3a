// Keeps the layout in this browser after each change, and offers it when the page is opened again.

import { make, t, text, textButton } from "./dom.mjs?v=31cf827f";
import { discard, readStored, store } from "../host/drafts.mjs?v=31cf827f";
import { countOf, draftOf, readDraft } from "../model/draft.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/layout.mjs").Layout} Layout */

const DELAY = 400; // milliseconds without a change before the layout is written

export class Autosave {
  /** @param {Editor} editor @param {boolean} keeps whether pictures may be kept on this computer */
  constructor(editor, keeps) {
    this.editor = editor;
    this.keeps = keeps;
    this.timer = 0;
    /** The layout that was written last. @type {Layout | null} */
    this.written = null;
    /** The layout of the last opening. @type {Layout | null} */
    this.offered = null;
    this.sentence = make("span");
    const restore = textButton(t("Restore"), () => this.restore());
    const drop = textButton(t("Discard"), () => this.discard());
    const properties = { className: "offer", role: "group", "aria-label": t("Your last subjects"), hidden: true };
    this.root = make("div", properties, this.sentence, restore, drop);
    void this.start();
  }

  async start() {
    const { fields } = this.editor;
    if (!this.keeps) return void discard(fields.tab);
    const layout = readDraft(await readStored(fields.tab), fields.slots);
    const count = layout ? countOf(layout) : 0;
    if (!count || countOf(this.editor.history.present)) return;
    this.offered = layout;
    text(this.sentence, t("Restore your last subjects ({count})?", { count }));
    this.root.hidden = false;
    this.editor.say(t("Restore your last subjects ({count})?", { count }));
  }

  restore() {
    const { offered, editor } = this;
    this.close();
    if (offered) editor.commit(offered, t("Restored the last subjects"));
  }

  discard() {
    this.close();
    void discard(this.editor.fields.tab);
    this.editor.toolbar.add.focus();
  }

  close() {
    this.root.hidden = true;
    this.offered = null;
  }

  /** The layout may have changed. An empty one is written only if it replaces one of this opening. */
  draw() {
    const { present } = this.editor.history;
    if (!this.keeps || present === this.written || (!this.written && !countOf(present))) return;
    this.written = present;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.write(present), DELAY);
  }

  /** @param {Layout} layout */
  async write(layout) {
    const { tab } = this.editor.fields;
    if (countOf(layout)) await store(tab, draftOf(layout));
    else await discard(tab);
  }
}
