// The message to the server when a subject card is pressed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cardMessage } from "../../javascript/anyms/host/cards.mjs";

/** @param {Record<string, string> | null} dataset of the nearest card button */
const target = (dataset) =>
  /** @type {any} */ ({
    closest: (/** @type {string} */ selector) => selector === "[data-card]" && dataset && { dataset },
  });

test("a pressed card sends its file and its use, and each press sends a new message", () => {
  const button = target({ card: "a fox's.safetensors", as: "pictures" });
  assert.deepEqual(JSON.parse(cardMessage(button, 1)), { file: "a fox's.safetensors", as: "pictures", count: 1 });
  assert.notEqual(cardMessage(button, 1), cardMessage(button, 2));
});

test("a press beside the cards sends nothing", () => {
  assert.equal(cardMessage(target(null), 1), "");
  assert.equal(cardMessage(null, 1), "");
});
