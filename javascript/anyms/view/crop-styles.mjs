// How the dialog looks in which a picture is cut; a part of the editor's style sheet.

export const CUT_STYLES = `
.cutting { width: min(760px, 96vw); max-height: 96vh; overflow: auto; padding: 12px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--body-background-fill, #fff); color: inherit; }
.cutting::backdrop { background: #0009; }
.cutting h2 { margin: 0 0 8px; font-size: 15px; }
.cutting .sheet { display: flex; justify-content: center; padding: 14px; border-radius: 8px; background: var(--soft); }
.cutting .work { position: relative; flex: none; touch-action: none; user-select: none; -webkit-user-select: none; }
.cutting .work > canvas { display: block; width: min(660px, 78vw, calc(46vh * var(--aspect))); height: auto; background: #fff; }
.cutting .shade { position: absolute; inset: 0; background: #14171cb0; pointer-events: none; }
.cutting .part { position: absolute; cursor: move; box-shadow: 0 0 0 1px #fff, 0 0 0 2px #14171c; --c: var(--accent); }
.cutting .work.painting { cursor: crosshair; }
.cutting .work.painting .part { pointer-events: none; }
.cutting .work.painting .handle { display: none; }
.cutting .bar { margin: 8px 0; }
.cutting .bar label { display: inline-flex; gap: 6px; align-items: center; color: var(--quiet); font-size: 12px; }
.cutting input[type=number] { width: 60px; min-height: 28px; padding: 0 2px 0 6px; background: var(--field); color: var(--body-text-color, #1f2937); }
.cutting .seenas { margin: 8px 0 4px; color: var(--quiet); font-size: 12px; }
.cutting .squares { display: flex; gap: 8px; flex-wrap: wrap; }
.cutting .squares button { flex-direction: column; padding: 5px; }
.cutting .squares canvas { width: 96px; height: 96px; background: #fff; border-radius: 3px; }
.cutting .end { justify-content: flex-end; margin-bottom: 0; }
.cutting .end .use { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; padding: 0 12px; }
@media (pointer: coarse) { .cutting input { min-height: 44px !important; } .cutting input[type=number] { width: 72px; font-size: 16px; } }
`;
