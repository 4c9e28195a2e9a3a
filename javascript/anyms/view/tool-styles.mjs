// Styles of the tools below the subject list, of hints and of overlays.

export const TOOL_STYLES = `
select { font: inherit; color: inherit; border: 1px solid var(--line); border-radius: var(--small); background: var(--field);
  min-height: var(--target); max-width: 100%; padding: 0 4px; }
select:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.notice, .hires-note { margin: 6px 0; padding: 6px 10px; border-radius: var(--small); border: 1px solid #c77700; border-left-width: 4px;
  background: color-mix(in srgb, #f0a830 14%, var(--field)); color: var(--body-text-color, #1f2937); overflow-wrap: anywhere; }
.notice { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: center; }
.notice details[open] { flex: 1 1 100%; }
.notice .lacks { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; }
.notice .buttons { display: flex; flex-wrap: wrap; gap: 4px; }
.notice .download-progress { font-variant-numeric: tabular-nums; }
.notice .plain summary { display: none; }
.notice summary { display: list-item; min-height: 24px; cursor: pointer; }
.hints { list-style: none; margin: 0 0 4px; padding: 0; font-size: 12px; line-height: 1.35; }
.hints li { display: flex; flex-wrap: wrap; gap: 2px 6px; align-items: center; padding: 2px 0; color: var(--quiet); }
.hints li.warning { color: var(--body-text-color, #1f2937); font-weight: 600; }
.hints li > span { flex: 1 1 200px; }
.hints .warning svg { color: #c77700; stroke-width: 2; }
.box.warned::after { content: "!"; position: absolute; right: 4px; top: 4px; width: 18px; height: 18px; border-radius: 9px;
  background: #f0a830; color: #14171c; font: 700 12px/18px system-ui, sans-serif; text-align: center; pointer-events: none; }
@container box (max-width: 56px) { .box.warned::after { content: none; } }
.token-map { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated; border-radius: 3px; pointer-events: none; }
.shows-tokens .box { background: none; }
.shows-tokens .box img { opacity: 0; }
.shows-tokens .invite { visibility: hidden; }
.hires-shade { position: absolute; inset: 0; z-index: 98; pointer-events: none; border-radius: 3px;
  background: repeating-linear-gradient(45deg, #14171c8c 0 6px, #14171c66 6px 12px); }
.token-levels { align-items: center; }
.token-levels .grid-size { color: var(--quiet); font-variant-numeric: tabular-nums; padding-left: 4px; }
.saved { flex: 1 1 auto; min-width: 0; }
.saved summary { display: inline-flex; align-items: center; min-height: var(--target); padding: 0 8px; border: 1px solid var(--line);
  border-radius: var(--small); background: var(--press); cursor: pointer; list-style: none; }
.saved summary::-webkit-details-marker { display: none; }
.saved summary::before { content: ""; border: 4px solid transparent; border-left-color: currentColor; margin-right: 5px; }
.saved[open] summary::before { transform: rotate(90deg) translateX(2px); }
.saved .body { display: flex; flex-wrap: wrap; gap: 6px 12px; padding-top: 6px; }
.saved .body > div { display: flex; flex-wrap: wrap; gap: 3px; max-width: 100%; }
.saved input { min-height: var(--target); width: 130px; padding: 0 6px; background: var(--field); }
@container (max-width: 460px) { .saved select, .saved input { flex: 1 1 90px; min-width: 0; } }
@media (pointer: coarse) { .saved input, select { font-size: 16px; } }
`;
