// How far the stage is magnified, and how far it scrolls.

const MOST = 4;
const STEPS = [1, 1.5, 2, 3, MOST];
const NOTCH = 40; // a notch of a wheel turns by 100 or more, a trackpad's pinch by 1 to 10 an event
const NEAR = 0.01; // a zoom this near a step is at it

/** @type {(zoom: number) => number} */
export const limited = (zoom) => (zoom < 1 + NEAR ? 1 : Math.min(zoom, MOST));

/** The next step in (`by` 1) or out (-1); `by` 0: all of the stage. @type {(zoom: number, by: number) => number} */
export function stepped(zoom, by) {
  if (by > 0) return STEPS.find((step) => step > zoom + NEAR) ?? MOST;
  const below = STEPS.filter((step) => step < zoom - NEAR);
  return by ? (below.at(-1) ?? 1) : 1;
}

/** The zoom after a wheel turned by `delta` pixels. @type {(zoom: number, delta: number) => number} */
export const turned = (zoom, delta) => limited(zoom * Math.exp(-Math.max(-NOTCH, Math.min(delta, NOTCH)) / 100));

/** How far a view scrolls to show a span. @type {(span: readonly number[], view: readonly number[]) => number} */
export function nearest([low, high], [start, end]) {
  const [before, after] = [low - start, high - end];
  if (before * after <= 0) return 0; // it shows the span, or nothing else
  return Math.abs(before) < Math.abs(after) ? before : after;
}
