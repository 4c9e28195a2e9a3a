// What a user does to subjects: each verb is one undo step and one sentence for screen readers.

import { t } from "./dom.mjs?v=b47f74d8";
import * as layouts from "../model/layout.mjs?v=b47f74d8";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** @param {Editor} editor */
export function add(editor) {
  const more = layouts.added(editor.history.present, (slot) => editor.fact(slot), editor.fields.slots);
  if (!more) return;
  editor.chosen = more.slot;
  editor.commit(more.layout, t("Added subject {slot}", { slot: more.slot }));
  editor.canvas.focus(more.slot);
}

/** Adds a copy of a subject. @type {(editor: Editor, slot: number) => void} */
export function duplicate(editor, slot) {
  const { present } = editor.history;
  const copy = layouts.duplicated(present, (other) => editor.fact(other), slot, editor.fields.slots);
  if (!copy) return editor.complain(t("There are twelve subjects already. Remove one first."));
  editor.chosen = copy.slot;
  editor.commit(copy.layout, t("Duplicated subject {slot} as subject {copy}", { slot, copy: copy.slot }));
  editor.canvas.focus(copy.slot);
}

/** Fixes a subject's box, or frees it. @type {(editor: Editor, slot: number) => void} */
export function toggleLock(editor, slot) {
  const locked = !layouts.isLocked(editor.history.present, slot);
  const announcement = locked ? "Subject {slot}: locked" : "Subject {slot}: unlocked";
  editor.commit(layouts.withLock(editor.history.present, slot, locked), t(announcement, { slot }));
}

/** Removes a subject and focuses the nearest one. @type {(editor: Editor, slot: number) => void} */
export function remove(editor, slot) {
  const [x0, y0] = layouts.boxOf(editor.layout, slot);
  const distance = (/** @type {layouts.Region} */ { box }) => Math.hypot(box[0] - x0, box[1] - y0);
  const others = editor.layout.regions.filter((region) => region.slot !== slot);
  others.sort((one, other) => distance(one) - distance(other));
  editor.commit(layouts.removed(editor.history.present, slot), t("Removed subject {slot}", { slot }));
  if (others.length) editor.canvas.focus(others[0].slot);
  else editor.toolbar.add.focus();
}

/** Switches a subject off or on. @type {(editor: Editor, slot: number) => void} */
export function toggle(editor, slot) {
  const off = !layouts.isOff(editor.history.present, slot);
  const announcement = off ? "Subject {slot}: switched off" : "Subject {slot}: switched on";
  editor.commit(layouts.switched(editor.history.present, slot, off), t(announcement, { slot }));
}

/** @type {(editor: Editor, slot: number, steps: number) => void} */
export function layer(editor, slot, steps) {
  editor.chosen = slot;
  const facts = (/** @type {number} */ other) => editor.fact(other);
  editor.commit(layouts.restacked(editor.history.present, facts, slot, steps, editor.fields.slots));
}

/** @param {Editor} editor */
export function unorder(editor) {
  editor.commit(layouts.unordered(editor.history.present), t("The order follows role and size"));
  editor.toolbar.add.focus(); // the pressed button is hidden now
}

/** @typedef {keyof typeof import("../model/presets.mjs").PRESETS} Preset */

/** @type {(editor: Editor, preset: Preset, announcement: string) => void} */
export function arrange(editor, preset, announcement) {
  editor.commit(
    layouts.arranged(editor.history.present, (slot) => editor.fact(slot), preset),
    announcement,
  );
}
