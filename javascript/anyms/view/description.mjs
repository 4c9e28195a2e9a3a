// A subject in words, for screen readers.

import { t } from "./dom.mjs?v=31cf827f";
import * as layouts from "../model/layout.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

const PLACE =
  "Subject {subject}: left {left} %, top {top} %, width {width} %, height {height} %; layer {layer} of {layers}";
const DESCRIPTIONS = {
  visible: `${PLACE}; {share} % visible`,
  off: `${PLACE}; switched off`,
  empty: `${PLACE}; no picture yet`,
};

/** @type {(editor: Editor, slot: number) => string} */
export function described(editor, slot) {
  const { layout, order } = editor;
  const percent = (/** @type {number} */ part) => Math.round(part * 100);
  const [x0, y0, x1, y1] = layouts.boxOf(layout, slot);
  const share = editor.shares.get(slot) ?? null;
  const hidden = layouts.isOff(layout, slot) ? DESCRIPTIONS.off : DESCRIPTIONS.empty;
  return t(share === null ? hidden : DESCRIPTIONS.visible, {
    subject: `${slot} ${editor.fact(slot).name.trim()}`.trim(),
    left: percent(x0),
    top: percent(y0),
    width: percent(x1 - x0),
    height: percent(y1 - y0),
    layer: order.indexOf(slot) + 1,
    layers: order.length,
    share: percent(share ?? 0),
  });
}
