// Layouts saved to files and opened from them. The server fills in an opened layout: gradio's lists take no value from
// a script.

import { t } from "./dom.mjs?v=31cf827f";
import { NoLayout, readLayout, writeLayout } from "../model/exchange.mjs?v=31cf827f";
import { chooseFiles, downloadJson } from "../host/files.mjs?v=31cf827f";
import * as layouts from "../model/layout.mjs?v=31cf827f";
import { roleOf } from "../model/order.mjs?v=31cf827f";
import { infotextOf } from "../model/png.mjs?v=31cf827f";
import { textOf } from "../model/text.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** @type {(texts: Record<string, string | number>) => Record<string, string | number>} */
const filled = (texts) => Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ""));

export class LayoutFiles {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.messages = 0;
  }

  save() {
    downloadJson(this.exported(this.editor.order), "layout.json");
    this.editor.answer(t("Saved the layout as a file"));
  }

  /**
   * Text of a layout file. Only the other tab of the page also reads silhouettes.
   * @type {(slots: readonly number[], silhouettes?: boolean) => string} slots: back to front
   */
  exported(slots, silhouettes = false) {
    const { editor } = this;
    const subjects = slots.map((slot) => {
      const { prompt, avoid, silhouette, ...settings } = editor.fields.settings(slot);
      const name = editor.fact(slot).name.trim();
      const role = roleOf(String(settings.role), name);
      const mask = silhouettes ? silhouette : "";
      // A reader numbers a subject without a name by its place.
      const texts = filled({ name, prompt, avoid, silhouette: mask });
      return { ...settings, ...texts, role, box: layouts.boxOf(editor.layout, slot) };
    });
    return writeLayout(/** @type {any} */ (subjects));
  }

  async open() {
    const [file] = await chooseFiles(".json,application/json,image/png", false);
    const infotext = infotextOf(new Uint8Array(await file.arrayBuffer()));
    if (infotext) this.send({ parameters: infotext });
    else this.take(await textOf(file));
  }

  /** @param {string} content of a layout file */
  take(content) {
    this.editor.complain("");
    try {
      readLayout(content);
    } catch (error) {
      if (!(error instanceof NoLayout)) throw error;
      this.editor.complain(t("This file is not a valid layout ({reason}).", { reason: error.message }));
      return;
    }
    this.send({ layout: JSON.parse(content) });
  }

  /** Sends a layout to the server, which fills the fields. @param {{layout: unknown} | {parameters: string}} message */
  send(message) {
    this.messages += 1; // makes each message new: opening the same file again must change the field
    this.editor.fields.send("opened", JSON.stringify({ number: this.messages, ...message }));
  }
}
