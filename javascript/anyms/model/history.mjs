// Undo and redo over immutable values.

/**
 * mark: of the last change.
 * @template T
 * @typedef {{past: readonly T[], present: T, future: readonly T[], mark: string}} History
 */

const MAX_UNDO = 200;

/** @template T @param {T} present @returns {History<T>} */
export const begun = (present) => ({ past: [], present, future: [], mark: "" });

/**
 * Adds `present`. A change with the same non-empty mark as the last one joins it, as when a key is held down.
 * @template T
 * @param {History<T>} history
 * @param {T} present
 * @param {string} mark
 * @returns {History<T>}
 */
export function changed(history, present, mark = "") {
  const joined = mark !== "" && mark === history.mark && history.past.length > 0;
  const past = joined ? history.past : [...history.past, history.present].slice(-MAX_UNDO);
  return { past, present, future: [], mark };
}

/** @template T @param {History<T>} history @returns {History<T>} */
export function undone({ past, present, future }) {
  if (!past.length) return { past, present, future, mark: "" };
  return { past: past.slice(0, -1), present: past[past.length - 1], future: [present, ...future], mark: "" };
}

/** @template T @param {History<T>} history @returns {History<T>} */
export function redone({ past, present, future }) {
  if (!future.length) return { past, present, future, mark: "" };
  return { past: [...past, present], present: future[0], future: future.slice(1), mark: "" };
}
