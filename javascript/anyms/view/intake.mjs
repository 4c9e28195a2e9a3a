// Pictures given to the editor: into a slot, into the next free ones, or one of ours to restore what made it.

import { addressOf, bringsPictures, picturesIn } from "../host/files.mjs?v=0.1.0";
import { t } from "./dom.mjs?v=0.1.0";
import * as layouts from "../model/layout.mjs?v=0.1.0";
import { allSlots } from "../model/order.mjs?v=0.1.0";
import { joined, MOST } from "../model/pictures.mjs?v=0.1.0";
import { infotextOf, namesAnyMS } from "../model/png.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */

export class Giving {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.times = 0;
  }

  /** More pictures of a subject; those given with one `mark` are undone together. @type {(slot: number, files: readonly File[], mark?: string) => Promise<void>} */
  async give(slot, files, mark = "") {
    if (!slot || !files.length) return;
    const { editor } = this;
    editor.choose(slot);
    const read = await Promise.all(files.slice(0, MOST).map((file) => addressOf(file).catch(() => null)));
    const unread = files.filter((_, n) => read[n] === null).map((file) => file.name);
    const more = read.flatMap((address) => address ?? []);
    const { pictures, left } = joined(editor.fields.pictures(slot), more); // as they are by now
    this.set(slot, pictures, `${t("Added pictures of subject")} ${slot}`, mark);
    const beyond = left + Math.max(0, files.length - MOST);
    const told = unread.length ? [`${t("The browser cannot read")} ${unread.join(", ")}. ${t("Save it as PNG or JPEG.")}`] : [];
    if (beyond) told.push(`${t("A subject takes 8 pictures at most; left out:")} ${beyond}.`);
    editor.complain(told.join(" "));
  }

  /** @type {(slot: number, pictures: Pictures, words: string, mark?: string) => void} */
  set(slot, pictures, words, mark = "") {
    this.editor.complain("");
    this.editor.picture(slot, pictures, words, mark);
    this.editor.say(words);
  }

  /** Files that fell beside the boxes. @param {readonly File[]} files */
  async offer(files) {
    const infotext = files.length === 1 ? infotextOf(new Uint8Array(await files[0].arrayBuffer())) : "";
    if (namesAnyMS(infotext)) return this.editor.files.send({ parameters: infotext });
    this.times += 1;
    const mark = `given ${this.times}`;
    for (const file of files) {
      const slot = this.free(mark);
      if (!slot) return this.editor.complain(t("All subjects have pictures. Drop it onto a box to add it there."));
      await this.give(slot, [file], mark);
    }
  }

  /** The slot that is to have the next picture; 0: all are full. @param {string} mark */
  free(mark) {
    const { editor } = this;
    const open = (/** @type {number} */ slot) => layouts.shows(editor.layout, slot) && !layouts.isOff(editor.layout, slot);
    const empty = (/** @type {number} */ slot) => open(slot) && !editor.fields.pictures(slot).length;
    return [editor.chosen, ...allSlots(editor.fields.slots)].find(empty) ?? editor.addSlot(mark);
  }

  /** Ctrl+V into a slot; 0: into the next free one. @param {ClipboardEvent} event @param {number} slot */
  pasted(event, slot) {
    if (event.target instanceof HTMLInputElement || !bringsPictures(event.clipboardData)) return;
    event.preventDefault();
    event.stopPropagation(); // the host would put it into a picture of its own
    void picturesIn(event.clipboardData).then((files) => (slot ? this.give(slot, files) : this.offer(files)));
  }

  /** @param {DragEvent} event @param {number} slot */
  dropped(event, slot) {
    event.preventDefault();
    event.stopPropagation(); // the host would put it into a picture of its own
    const others = [...(event.dataTransfer?.files ?? [])].filter((file) => !file.type.startsWith("image/"));
    void picturesIn(event.dataTransfer).then(async (files) => {
      if (files.length) return slot ? this.give(slot, files) : this.offer(files);
      if (others[0]?.name.endsWith(".json")) return this.editor.files.take(await others[0].text());
      this.editor.complain(t("That is neither a picture nor a layout file."));
    });
  }
}
