// Cases on which Python and JavaScript must agree; tests/unit/test_editor_cases.py runs the same ones.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ownersOf, tokenGrid, tokensOf, visibleShares } from "../../javascript/anyms/model/boxes.mjs";
import { readLayout, writeLayout } from "../../javascript/anyms/model/exchange.mjs";
import { writePositions } from "../../javascript/anyms/model/positions.mjs";
import { proposedOrder, proposedRole, readOrder, roleOf, writeOrder } from "../../javascript/anyms/model/order.mjs";

const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url), "utf-8"));
const sized = ([width, height]) => ({ width, height });

for (const { text, subjects, cause } of cases.layouts) {
  test(`layout file ${text.slice(0, 90)}`, () => {
    if (cause) return assert.throws(() => readLayout(text), { cause });
    assert.deepEqual(readLayout(text), subjects);
    assert.deepEqual(readLayout(writeLayout(subjects)), subjects);
  });
}

test("a layout has at most twelve subjects", () => {
  const text = JSON.stringify({ version: 1, subjects: Array(13).fill({ box: [0, 0, 1, 1] }) });
  assert.throws(() => readLayout(text), { cause: "subject_count" });
});

for (const { text, order, written, cause } of cases.orders) {
  test(`order "${text}"`, () => {
    const read = readOrder(text, 12);
    assert.deepEqual(read, cause ? undefined : order);
    if (cause) return;
    assert.deepEqual(readOrder(writeOrder(read), 12), order);
    if (written) assert.equal(writeOrder(read), written);
  });
}

for (const [name, role] of cases.roles) test(`role of "${name}"`, () => assert.equal(proposedRole(name), role));

for (const { subjects, order } of cases.proposed) {
  test(`proposed order of ${subjects.map(([name]) => name)}`, () => {
    assert.deepEqual(proposedOrder(subjects.map(([name, role, box]) => ({ role: roleOf(role, name), box }))), order);
  });
}

for (const { prompt, subjects, written } of cases.positions) {
  test(`positions: ${written}`, () => {
    const placed = subjects.map(([name, role, box]) => ({ name, role, box }));
    assert.equal(writePositions(prompt, placed), written);
    assert.equal(writePositions(written, placed), written);
  });
}

for (const { box, size, halvings, rect } of cases.tokens) {
  test(`tokens of ${box} at ${size}, ${halvings} times halved`, () => {
    const { top, bottom, left, right } = tokensOf(box, tokenGrid(sized(size), halvings));
    assert.deepEqual([top, bottom, left, right], rect);
  });
}

for (const { boxes, size, halvings, owners } of cases.owners) {
  test(`owners of ${JSON.stringify(boxes)} at ${size}, ${halvings} times halved`, () => {
    const grid = tokenGrid(sized(size), halvings);
    const letters = [...ownersOf(boxes, grid)].map((owner) => (owner < 0 ? "." : String(owner)));
    const rows = [];
    for (let start = 0; start < letters.length; start += grid.columns) {
      rows.push(letters.slice(start, start + grid.columns).join(" "));
    }
    assert.deepEqual(rows, owners);
  });
}

for (const { boxes, size, shares } of cases.shares) {
  test(`visible shares of ${JSON.stringify(boxes)}`, () => {
    assert.deepEqual(visibleShares(boxes, tokenGrid(sized(size), 1)), shares);
  });
}
