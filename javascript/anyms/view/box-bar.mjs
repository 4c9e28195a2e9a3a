// The small bar at the chosen box: layers, copy, crop, lock, off, remove.

import { attribute, button, make, t } from "./dom.mjs?v=31cf827f";
import { boxOf, isLocked, isOff, picturesOf } from "../model/layout.mjs?v=31cf827f";
import { isCard } from "../model/mask.mjs?v=31cf827f";
import * as verbs from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/boxes.mjs").Box} Box */

const ROOM = 0.14; // share of the stage that the bar needs above or below a box

/**
 * CSS that places the bar above a box, else below it, else inside it; never beside the stage.
 * @type {(box: Box) => {left: string, top: string, bottom: string}}
 */
export function barPlace([x0, y0, x1, y1]) {
  const middle = ((x0 + x1) / 2) * 100;
  const left = `clamp(0px, calc(${middle}% - var(--bar) / 2), calc(100% - var(--bar)))`;
  if (y0 >= ROOM) return { left, top: "auto", bottom: `calc(${(1 - y0) * 100}% + 12px)` };
  if (y1 <= 1 - ROOM) return { left, top: `calc(${y1 * 100}% + 12px)`, bottom: "auto" };
  return { left, top: `calc(${y0 * 100}% + 34px)`, bottom: "auto" };
}

export class BoxBar {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.slot = 0; // whose labels the buttons have
    this.root = make("div", { className: "box-bar", role: "toolbar", hidden: true });
    this.buttons = this.newButtons();
    this.root.append(...Object.values(this.buttons));
  }

  newButtons() {
    const { editor } = this;
    const own = () => editor.chosen;
    return {
      up: button("up", "", () => verbs.layer(editor, own(), 1)),
      down: button("down", "", () => verbs.layer(editor, own(), -1)),
      duplicate: button("copy", "", () => verbs.duplicate(editor, own())),
      crop: button("crop", "", () => void editor.cropDialog.open(own(), 0)),
      lock: button("lock", "", () => verbs.toggleLock(editor, own())),
      on: button("power", "", () => verbs.toggle(editor, own())),
      remove: button("remove", "", () => verbs.remove(editor, own())),
    };
  }

  draw() {
    const { layout, chosen, order, canvas } = this.editor;
    this.root.hidden = !chosen;
    this.root.classList.toggle("dragging", canvas.gesture !== null);
    if (!chosen) return;
    if (chosen !== this.slot) this.label(chosen);
    Object.assign(this.root.style, barPlace(this.editor.zoom.inView(boxOf(layout, chosen))));
    const { up, down, duplicate, crop, lock, on } = this.buttons;
    const focused = this.editor.shadow?.activeElement;
    up.disabled = order.indexOf(chosen) === order.length - 1;
    down.disabled = order.indexOf(chosen) === 0;
    if (focused === up && up.disabled) down.focus({ preventScroll: true });
    if (focused === down && down.disabled) up.focus({ preventScroll: true });
    duplicate.disabled = order.length >= this.editor.fields.slots;
    const [picture] = picturesOf(layout, chosen);
    crop.disabled = picture === undefined || isCard(picture);
    attribute(lock, "aria-pressed", String(isLocked(layout, chosen)));
    attribute(on, "role", "switch");
    attribute(on, "aria-checked", String(!isOff(layout, chosen)));
  }

  /** @param {number} slot */
  label(slot) {
    this.slot = slot;
    const labels = {
      up: t("Bring subject {slot} forward", { slot }),
      down: t("Send subject {slot} back", { slot }),
      duplicate: t("Duplicate subject {slot}", { slot }),
      crop: t("Crop the picture of subject {slot}", { slot }),
      lock: t("Lock the box of subject {slot}", { slot }),
      on: t("Subject {slot} on", { slot }),
      remove: t("Remove subject {slot}", { slot }),
    };
    attribute(this.root, "aria-label", t("Tools of subject {slot}", { slot }));
    for (const [name, label] of Object.entries(labels)) {
      const button = this.buttons[/** @type {keyof typeof labels} */ (name)];
      button.title = label;
      attribute(button, "aria-label", label);
    }
  }
}
