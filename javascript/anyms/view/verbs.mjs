// What a user does to subjects: each verb is one undo step and one sentence for screen readers.

import { inShapeOf, TOKEN } from "../model/boxes.mjs?v=31cf827f";
import { NoLayout } from "../model/exchange.mjs?v=31cf827f";
import { MAX_PICTURES } from "../model/pictures.mjs?v=31cf827f";
import { isTooLarge, readCopied, writeSubject } from "../model/subject-text.mjs?v=31cf827f";
import { chooseFiles, maskOf } from "../host/files.mjs?v=31cf827f";
import { t } from "./dom.mjs?v=31cf827f";
import * as layouts from "../model/layout.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** @param {Editor} editor */
export function add(editor) {
  const more = layouts.added(editor.history.present, (slot) => editor.fact(slot), editor.fields.slots);
  if (!more) return;
  editor.chosen = more.slot;
  editor.commit(more.layout, t("Added subject {slot}", { slot: more.slot }));
  editor.canvas.focus(more.slot);
}

const FULL = "There are twelve subjects already. Remove one first.";

/** Adds a copy of a subject. @type {(editor: Editor, slot: number) => void} */
export function duplicate(editor, slot) {
  const { present } = editor.history;
  const copy = layouts.duplicated(present, (other) => editor.fact(other), slot, editor.fields.slots);
  if (!copy) return editor.complain(t(FULL));
  editor.chosen = copy.slot;
  editor.commit(copy.layout, t("Duplicated subject {slot} as subject {copy}", { slot, copy: copy.slot }));
  editor.canvas.focus(copy.slot);
}

/** Gives a box the ratio of the subject's first picture. @type {(editor: Editor, slot: number) => void} */
export function fit(editor, slot) {
  if (layouts.isLocked(editor.layout, slot)) return editor.answer(t("Subject {slot} is locked", { slot }));
  const { naturalWidth: width, naturalHeight: height } = editor.canvas.boxes.get(slot)?.image ?? {};
  if (!width || !height) return editor.answer(t("Subject {slot} has no picture yet", { slot }));
  const before = layouts.boxOf(editor.layout, slot);
  const box = inShapeOf(before, { width, height }, editor.size, editor.snapping ? TOKEN : 0);
  const fitted = t("Subject {slot}: box in the shape of its picture", { slot });
  editor.commit(layouts.withBox(editor.history.present, slot, box), fitted);
  editor.zoom.reveal(slot);
}

/** Ctrl+C on a box or chip. @type {(editor: Editor, event: ClipboardEvent) => void} */
export function copy(editor, event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (!target.matches?.(".box, .chip")) return;
  const slot = Number(target.dataset.slot);
  event.preventDefault();
  event.stopPropagation();
  const text = writeSubject(layouts.copyOf(editor.history.present, slot));
  if (isTooLarge(text)) {
    return editor.complain(t("The pictures of subject {slot} are too large for the clipboard.", { slot }));
  }
  event.clipboardData?.setData("text/plain", text);
  editor.answer(t("Copied subject {slot}", { slot }));
}

/** Ctrl+V of a copied subject, from any tab or window. @type {(editor: Editor, text: string) => void} */
export function paste(editor, text) {
  try {
    const { present } = editor.history;
    const pasted = layouts.withCopy(present, (slot) => editor.fact(slot), readCopied(text), editor.fields.slots);
    if (!pasted) return editor.complain(t(FULL));
    editor.chosen = pasted.slot;
    editor.commit(pasted.layout, t("Pasted as subject {slot}", { slot: pasted.slot }));
    editor.canvas.focus(pasted.slot);
  } catch (error) {
    if (!(error instanceof NoLayout)) throw error;
    editor.complain(t("This is no subject that AnyMS copied ({reason}).", { reason: error.message }));
  }
}

/**
 * Moves or copies picture `n` of a subject to another one; `to` 0: a new one.
 * @type {(editor: Editor, from: number, n: number, to: number, keep: boolean) => void}
 */
export function movePicture(editor, from, n, to, keep) {
  const { present } = editor.history;
  const { slots } = editor.fields;
  const more = to ? { layout: present, slot: to } : layouts.added(present, (slot) => editor.fact(slot), slots);
  if (!more) return editor.complain(t(FULL));
  if (from === more.slot) return;
  const layout = layouts.withPictureAt(more.layout, from, n, more.slot, keep, slots);
  if (!layout) return editor.complain(refusalOf(editor, from, n, to));
  const moved = keep ? "Copied a picture to subject {slot}" : "Moved a picture to subject {slot}";
  editor.commit(layout, t(moved, { slot: more.slot }));
}

/** Why a subject does not take it. @type {(editor: Editor, from: number, n: number, to: number) => string} */
function refusalOf({ history }, from, n, to) {
  const [mine, theirs] = [from, to].map((slot) => layouts.picturesOf(history.present, slot));
  if (theirs.includes(mine[n])) return t("Subject {slot} already has this picture.", { slot: to });
  return t("Subject {slot} already has {most} pictures, the most that it takes.", { slot: to, most: MAX_PICTURES });
}

/** @type {(editor: Editor, slot: number, silhouette: string) => void} */
export function setSilhouette(editor, slot, silhouette) {
  const announcement = silhouette ? "Subject {slot} has a silhouette" : "Subject {slot} has its whole box";
  editor.set(slot, { silhouette }, t(announcement, { slot }));
}

/** @type {(editor: Editor, slot: number) => Promise<void>} */
export async function chooseSilhouette(editor, slot) {
  const [file] = await chooseFiles("image/*", false);
  if (!file) return;
  try {
    setSilhouette(editor, slot, await maskOf(file));
  } catch {
    editor.complain(t("The browser cannot read {files}. Use PNG or JPEG.", { files: file.name }));
  }
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
