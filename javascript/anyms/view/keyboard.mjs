// What keys do in the editor.

import { moved, resized, TOKEN } from "../model/boxes.mjs?v=31cf827f";
import { t } from "./dom.mjs?v=31cf827f";
import { actionOf } from "../model/keys.mjs?v=31cf827f";
import { boxOf, isLocked } from "../model/layout.mjs?v=31cf827f";
import * as verbs from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/keys.mjs").Nudge} Nudge */

export const KEYS =
  "Arrow keys move, with Shift they resize, with Alt by one pixel. " +
  "Brackets change the layer, Delete removes, Control Z undoes, Control D duplicates, " +
  "Control C copies, Control V pastes, F gives the box the shape of its picture, L locks, " +
  "plus and minus zoom, zero shows all, Escape deselects.";

/** @type {(editor: Editor, event: KeyboardEvent) => void} */
export function pressed(editor, event) {
  const { gesture } = editor.canvas;
  if (event.key === "Escape" && gesture) {
    gesture.stop(true);
    return consume(event); // the host would interrupt its job
  }
  const target = /** @type {HTMLElement} */ (event.target);
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement || gesture) return;
  const slot = target.matches(".box, .chip") ? Number(target.dataset.slot) : 0;
  const { key, shiftKey: shift, altKey: alt } = event;
  const onStage = target.closest(".desk, .strip") !== null;
  const command = event.ctrlKey || event.metaKey;
  const action = actionOf({ key, shift, alt, command, onBox: slot > 0, onStage });
  if (!action) return;
  consume(event);
  if (action.does === "move" || action.does === "resize") return nudge(editor, slot, action, event.repeat);
  /** @type {Record<Exclude<typeof action.does, "move" | "resize">, () => void>} */
  const actions = {
    deselect: () => (editor.largerView?.root.open ? editor.largerView.toggle() : editor.deselect()),
    duplicate: () => verbs.duplicate(editor, slot),
    fit: () => verbs.fit(editor, slot),
    lock: () => verbs.toggleLock(editor, slot),
    layer: () => action.does === "layer" && verbs.layer(editor, slot, action.by),
    remove: () => verbs.remove(editor, slot),
    zoom: () => action.does === "zoom" && editor.zoom.step(action.by),
    undo: () => editor.undo(),
    redo: () => editor.redo(),
  };
  actions[action.does]();
}

/** Moves or resizes a box by one step. @type {(editor: Editor, slot: number, action: Nudge, held: boolean) => void} */
function nudge(editor, slot, { does, by, fine }, held) {
  const { layout, size, snapping } = editor;
  if (isLocked(layout, slot)) return editor.answer(t("Subject {slot} is locked", { slot }));
  const coarse = snapping ? TOKEN : 8;
  const step = fine ? 1 : coarse;
  /** @type {[number, number]} */
  const shift = [(by[0] * step) / size.width, (by[1] * step) / size.height];
  const grid = snapping && !fine ? TOKEN : 0;
  const box = boxOf(layout, slot);
  const edge = by[0] ? "e" : "s";
  const next = does === "move" ? moved(box, shift, size, grid) : resized(box, edge, shift, size, grid);
  editor.place(slot, next, held ? `${does} ${slot}` : ""); // a key held down is one undo step
  editor.zoom.reveal(slot);
}

/** @param {Event} event */
function consume(event) {
  event.preventDefault();
  event.stopPropagation();
}
