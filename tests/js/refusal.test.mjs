// The refusal of AnyMS in the line under the host's gallery.

import assert from "node:assert/strict";
import { test } from "node:test";

import { showRefusals, withRefusal } from "../../javascript/anyms/host/refusal.mjs";

const HOST_TEXT = "TypeError: 'NoneType' object is not iterable";
const REFUSAL = "AnyMS: the box lies outside.";

test("the refusal replaces a host text that lacks it", () => {
  assert.equal(withRefusal(HOST_TEXT, REFUSAL), REFUSAL);
  assert.equal(withRefusal(`Refused: ${REFUSAL}`, REFUSAL), `Refused: ${REFUSAL}`);
  assert.equal(withRefusal(HOST_TEXT, ""), HOST_TEXT);
});

/**
 * A page with the line under the gallery. `answers`: what the server returns, one per request; undefined: it is down.
 */
function page(t, answers) {
  const line = { textContent: HOST_TEXT };
  const log = { line, querySelector: () => log.line };
  let changed = () => Promise.resolve();
  const originals = {
    document: globalThis.document,
    MutationObserver: globalThis.MutationObserver,
    fetch: globalThis.fetch,
  };
  t.after(() => Object.assign(globalThis, originals));
  Object.assign(globalThis, {
    document: { getElementById: (id) => (id === "html_log_txt2img" ? log : null) },
    MutationObserver: class {
      constructor(callback) {
        changed = callback;
      }
      observe() {}
    },
    fetch: async (address) => {
      assert.equal(address, "./anyms/v1/refusal");
      const answer = answers.shift();
      if (answer === undefined) throw new Error("the server is down");
      return { ok: true, json: async () => ({ sentence: answer }) };
    },
  });
  showRefusals("txt2img");
  showRefusals("img2img"); // the page has no such tab
  return { log, change: () => changed() };
}

test("a second failure with the same text is requested again", async (t) => {
  const { log, change } = page(t, [REFUSAL, "AnyMS: another.", "", undefined]);
  await change();
  assert.equal(log.line.textContent, REFUSAL);
  await change();
  assert.equal(log.line.textContent, "AnyMS: another.");
  await change();
  assert.equal(log.line.textContent, HOST_TEXT, "a failure of the host keeps its text");
  await change();
  assert.equal(log.line.textContent, HOST_TEXT);
  log.line = null;
  await change();
});
