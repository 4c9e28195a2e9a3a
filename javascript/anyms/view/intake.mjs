// Pictures that the user drops, pastes or chooses: for one slot, for the next free slots, or to restore a layout from a
// picture.

import { addressOf, filesIn, hasPictures } from "../host/files.mjs?v=31cf827f";
import { t } from "./dom.mjs?v=31cf827f";
import * as layouts from "../model/layout.mjs?v=31cf827f";
import { allSlots } from "../model/order.mjs?v=31cf827f";
import { joined, MAX_PICTURES } from "../model/pictures.mjs?v=31cf827f";
import { infotextOf, namesAnyMS } from "../model/png.mjs?v=31cf827f";
import { isSubject } from "../model/subject-text.mjs?v=31cf827f";
import { textOf } from "../model/text.mjs?v=31cf827f";
import { paste } from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */

export class Intake {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.drops = 0;
  }

  /**
   * Adds pictures to a subject, or replaces those it has. Calls with the same `mark` are undone together.
   * @type {(slot: number, files: readonly File[], mark?: string, replace?: boolean) => Promise<void>}
   */
  async add(slot, files, mark = "", replace = false) {
    if (!slot || !files.length) return;
    const { editor } = this;
    editor.choose(slot);
    this.busy(slot, true);
    const results = await Promise.all(files.slice(0, MAX_PICTURES).map((file) => addressOf(file).catch(() => null)));
    this.busy(slot, false);
    const unreadable = files.filter((_, n) => results[n] === null).map((file) => file.name);
    const addresses = results.flatMap((address) => address ?? []);
    // Read the field only now: it may have changed while the files were read.
    const { pictures, rejected } = joined(replace ? [] : editor.fields.pictures(slot), addresses);
    this.set(slot, pictures, t("Added pictures to subject {slot}", { slot }), mark);
    this.complain(unreadable, rejected + Math.max(0, files.length - MAX_PICTURES));
  }

  /** Marks a subject while its files are read. @type {(slot: number, waits: boolean) => void} */
  busy(slot, waits) {
    const { canvas, filmStrip } = this.editor;
    const places = [canvas.boxes.get(slot), filmStrip.items.get(slot)];
    for (const place of places) place?.root.classList.toggle("busy", waits);
  }

  /** @param {readonly string[]} unreadable names of files @param {number} rejected */
  complain(unreadable, rejected) {
    const sentences = [];
    if (unreadable.length) {
      const files = unreadable.join(", ");
      sentences.push(t("The browser cannot read {files}. Use PNG or JPEG.", { files }));
    }
    if (rejected) {
      const values = { most: MAX_PICTURES, rejected };
      sentences.push(t("A subject takes at most {most} pictures; left out: {rejected}.", values));
    }
    this.editor.complain(sentences.join(" "));
  }

  /** @type {(slot: number, pictures: Pictures, announcement: string, mark?: string) => void} */
  set(slot, pictures, announcement, mark = "") {
    this.editor.complain("");
    this.editor.setPictures(slot, pictures, announcement, mark);
    this.editor.say(announcement);
  }

  /**
   * Files dropped beside the boxes. As a `reference`, a picture of AnyMS restores nothing.
   * @type {(files: readonly File[], reference?: boolean) => Promise<void>}
   */
  async offer(files, reference = false) {
    const restores = files.length === 1 && !reference;
    const infotext = restores ? infotextOf(new Uint8Array(await files[0].arrayBuffer())) : "";
    if (namesAnyMS(infotext)) return this.editor.files.send({ parameters: infotext });
    this.drops += 1;
    const mark = `drop ${this.drops}`;
    for (const file of files) {
      const slot = this.freeSlot(mark);
      if (!slot) return this.editor.complain(t("All subjects have pictures. Drop it onto a box to add it there."));
      await this.add(slot, [file], mark);
    }
  }

  /** The slot for the next picture; 0: all are full. @param {string} mark */
  freeSlot(mark) {
    const { editor } = this;
    const isFree = (/** @type {number} */ slot) => {
      const shown = layouts.shows(editor.layout, slot) && !layouts.isOff(editor.layout, slot);
      return shown && !editor.fields.pictures(slot).length;
    };
    return [editor.chosen, ...allSlots(editor.fields.slots)].find(isFree) ?? editor.addSlot(mark);
  }

  /** Ctrl+V. @param {ClipboardEvent} event @param {number} slot 0: the next free one */
  onPaste(event, slot) {
    if (event.target instanceof HTMLInputElement) return;
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!isSubject(text) && !hasPictures(event.clipboardData)) return;
    event.preventDefault();
    event.stopPropagation(); // the host would take it as its own input picture
    if (isSubject(text)) return paste(this.editor, text);
    void filesIn(event.clipboardData).then(({ pictures }) => (slot ? this.add(slot, pictures) : this.offer(pictures)));
  }

  /** Ctrl+V where no box has the focus: a copied subject goes to the shown tab. @param {ClipboardEvent} event */
  onPasteElsewhere(event) {
    const [target] = event.composedPath();
    const written = target instanceof Element && target.closest("input, textarea, select, [contenteditable]");
    const shown = this.editor.shadow.host.getClientRects().length > 0;
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (event.defaultPrevented || written || !shown || !isSubject(text)) return;
    event.preventDefault();
    paste(this.editor, text);
  }

  /**
   * `slot` 0: the next free one; `asks`: where the subject has pictures, the user says what happens to them.
   * @type {(event: DragEvent, slot: number, asks?: boolean) => void}
   */
  onDrop(event, slot, asks = false) {
    event.preventDefault();
    event.stopPropagation(); // the host would take it as its own input picture
    void filesIn(event.dataTransfer).then(async ({ pictures, layout }) => {
      const choice = asks && slot > 0 && this.editor.fields.pictures(slot).length > 0;
      if (pictures.length && choice) return this.editor.dropChoice.open(slot, pictures);
      if (pictures.length) return slot ? this.add(slot, pictures) : this.offer(pictures);
      if (layout) return this.editor.files.take(await textOf(layout));
      this.editor.complain(t("This is neither a picture nor a layout file."));
    });
  }
}
