// What a press on the list of subject cards tells the server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { told } from "../../javascript/anyms/host/cards.mjs";

/** @param {Record<string, string> | null} dataset of the nearest button of ours */
const target = (dataset) => /** @type {any} */ ({ closest: (/** @type {string} */ selector) => selector === "[data-card]" && dataset && { dataset } });

test("a pressed card is told with what it is wanted as, and again as something new", () => {
  const button = target({ card: "a fox's.safetensors", as: "pictures" });
  assert.deepEqual(JSON.parse(told(button, 1)), { file: "a fox's.safetensors", as: "pictures", count: 1 });
  assert.notEqual(told(button, 1), told(button, 2));
});

test("a press beside the cards tells nothing", () => {
  assert.equal(told(target(null), 1), "");
  assert.equal(told(null, 1), "");
});
