// Style rules for gradio's own components: only the inspected slot's fields are shown, in its colour.

import { colourOf } from "./dom.mjs?v=31cf827f";
import { allSlots } from "../model/order.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** @type {(editor: Editor) => string} */
export function hostRules(editor) {
  const rules = allSlots(editor.fields.slots).map((slot) => slotRules(editor, slot));
  return rules.join("\n");
}

/** @type {(editor: Editor, slot: number) => string} */
function slotRules({ fields, inspected, unfolded, plain }, slot) {
  const selector = (/** @type {string} */ name) => `#${CSS.escape(fields.id(name))}`;
  if (slot !== inspected) return `${selector(`slot${slot}`)} { display: none !important; }`;
  const colour = `${selector(`slot${slot}`)} { border-left-color: ${colourOf(slot)} !important; }`;
  const hidden = [];
  if (!unfolded) hidden.push(selector(`slot${slot}_more`));
  if (!plain) hidden.push(selector(`slot${slot}_plain`));
  return hidden.length ? `${colour} ${hidden.join(", ")} { display: none !important; }` : colour;
}
