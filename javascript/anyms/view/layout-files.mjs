// Layouts to files and from them, and what only the server can fill in: gradio's lists take no value from a script.

import { make, t } from "./dom.mjs?v=0.1.0";
import { NoLayout, readLayout, writeLayout } from "../model/exchange.mjs?v=0.1.0";
import { chosenFiles } from "../host/files.mjs?v=0.1.0";
import * as layouts from "../model/layout.mjs?v=0.1.0";
import { roleOf } from "../model/order.mjs?v=0.1.0";
import { infotextOf } from "../model/png.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** @type {(told: string, name: string) => void} */
export function download(told, name) {
  const address = URL.createObjectURL(new Blob([told], { type: "application/json" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export class LayoutFiles {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.openings = 0;
  }

  save() {
    download(this.exported(this.editor.order), "layout.json");
  }

  /** A layout file of these slots, back to front. @param {readonly number[]} slots */
  exported(slots) {
    const { editor } = this;
    const subjects = slots.map((slot) => {
      const told = editor.fields.settings(slot);
      const name = editor.fact(slot).name.trim() || `subject ${slot}`;
      return { ...told, name, role: roleOf(String(told.role), name), box: layouts.boxOf(editor.layout, slot) };
    });
    return writeLayout(/** @type {any} */ (subjects));
  }

  open() {
    void chosenFiles(".json,application/json,image/png", false).then(async ([file]) => {
      const infotext = infotextOf(new Uint8Array(await file.arrayBuffer()));
      if (infotext) this.send({ parameters: infotext });
      else this.take(await file.text());
    });
  }

  /** A layout file's text. @param {string} told */
  take(told) {
    this.editor.complain("");
    try {
      readLayout(told);
    } catch (error) {
      if (!(error instanceof NoLayout)) throw error;
      this.editor.complain(`${t("This file is no layout that can be used here.")} (${error.message})`);
      return;
    }
    this.send({ layout: JSON.parse(told) });
  }

  /** To the server, which fills the fields. @param {{layout: unknown} | {parameters: string}} told */
  send(told) {
    this.openings += 1; // the same file once more is news, too
    this.editor.fields.send("opened", JSON.stringify({ number: this.openings, ...told }));
  }
}
