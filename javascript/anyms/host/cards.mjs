// The list of subject cards in the panel: sends a pressed card to the server, which fills the chosen slot.

/** @typedef {import("./fields.mjs").Fields} Fields */

let presses = 0; // makes each message new: pressing the same card again must change the field

/**
 * The message for a pressed card button; "" for any other target.
 * @type {(target: Element | null, count: number) => string}
 */
export function cardMessage(target, count) {
  const button = /** @type {HTMLElement | null} */ (target?.closest("[data-card]") ?? null);
  if (!button) return "";
  return JSON.stringify({ file: button.dataset.card, as: button.dataset.as, count });
}

/** Call once per tab. Listens on the document because gradio replaces the list. @param {Fields} fields */
export function watchCards(fields) {
  document.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (!document.getElementById(fields.id("cards_shown"))?.contains(target)) return;
    presses += 1;
    const message = cardMessage(target, presses);
    if (message) fields.send("cards_put", message);
  });
}
