// The action of each key.

/**
 * `command`: Ctrl, or Cmd on a Mac.
 * @typedef {{key: string, shift: boolean, alt: boolean, command: boolean, onBox: boolean,
 * onStage: boolean}} Stroke
 */
/** @typedef {{does: "move" | "resize", by: readonly [number, number], fine: boolean}} Nudge */
/**
 * @typedef {Nudge | {does: "layer", by: number} | {does: "remove"} | {does: "deselect"} |
 * {does: "duplicate"} | {does: "lock"} | {does: "fit"} |
 * {does: "zoom", by: number} | {does: "undo"} | {does: "redo"}} Action
 */

/** @type {Record<string, readonly [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** @type {Record<string, Action>} */
const ON_BOX = {
  "]": { does: "layer", by: 1 },
  "[": { does: "layer", by: -1 },
  l: { does: "lock" },
  f: { does: "fit" },
  Escape: { does: "deselect" },
  Delete: { does: "remove" },
  Backspace: { does: "remove" },
};

/** @type {Record<string, number>} */
const ZOOM = { "+": 1, "-": -1, 0: 0 };

/** The key of "+" without Shift where that is "=". @type {(key: string, shift: boolean) => string} */
const sign = (key, shift) => (key === "=" && !shift ? "+" : key);

/** @type {(stroke: Stroke) => Action | null} */
export function actionOf({ key, shift, alt, command, onBox, onStage }) {
  if (command) return commandOf(key.toLowerCase(), shift, onBox);
  if (onStage && !alt && sign(key, shift) in ZOOM) return { does: "zoom", by: ZOOM[sign(key, shift)] };
  if (!onBox) return null;
  if (key in ARROWS) return { does: shift ? "resize" : "move", by: ARROWS[key], fine: alt };
  return shift || alt ? null : (ON_BOX[key] ?? null);
}

/** @type {(key: string, shift: boolean, onBox: boolean) => Action | null} */
function commandOf(key, shift, onBox) {
  if (key === "d" && onBox && !shift) return { does: "duplicate" };
  if (key === "z") return { does: shift ? "redo" : "undo" };
  return key === "y" && !shift ? { does: "redo" } : null;
}
