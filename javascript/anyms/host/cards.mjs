// The list of subject cards in the panel: a pressed card is told to the server, which fills the chosen slot.

/** @typedef {import("./fields.mjs").Fields} Fields */

let pressed = 0; // the same card once more must change the field, too

/** What is written for a pressed button; "" where none of ours was. @type {(target: Element | null, count: number) => string} */
export function told(target, count) {
  const button = /** @type {HTMLElement | null} */ (target?.closest("[data-card]") ?? null);
  if (!button) return "";
  return JSON.stringify({ file: button.dataset.card, as: button.dataset.as, count });
}

/** Once a tab; gradio renews the list itself. @param {Fields} fields */
export function watchCards(fields) {
  document.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    const text = document.getElementById(fields.id("cards_shown"))?.contains(target) ? told(target, ++pressed) : "";
    if (text) fields.send("cards_put", text);
  });
}
