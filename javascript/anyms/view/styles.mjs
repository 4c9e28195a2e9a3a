// Styles of the editor, inside its shadow root. The host's theme reaches them through its variables only.

export const STYLES = `
:host { display: block; isolation: isolate; container-type: inline-size; color: var(--body-text-color, #1f2937);
  font: 13px/1.45 var(--font, system-ui, sans-serif); --line: var(--border-color-primary, #d4d7de);
  --soft: var(--background-fill-secondary, #f5f6f8); --field: var(--input-background-fill, #fff);
  --accent: var(--color-accent, #2f6fde); --press: var(--button-secondary-background-fill, #eceef2);
  --quiet: color-mix(in srgb, var(--body-text-color, #1f2937) 78%, transparent); --small: 5px; --target: 28px; --tall: 276px; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
button, input, select { font: inherit; color: inherit; border: 1px solid var(--line); border-radius: var(--small); }
button { display: inline-flex; align-items: center; justify-content: center; gap: 5px; min-width: var(--target);
  min-height: var(--target); padding: 0 6px; background: var(--press); cursor: pointer; white-space: nowrap; }
button:hover:not(:disabled) { border-color: var(--accent); }
button:disabled { opacity: .4; cursor: default; }
button[aria-pressed=true] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
:is(button, input, select, .box):focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
svg { width: 16px; height: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.4; stroke-linecap: round; stroke-linejoin: round; }
.bar { display: flex; flex-wrap: wrap; gap: 4px 5px; align-items: center; }
.bar > div { display: flex; flex-wrap: wrap; gap: 3px; }
.bar .add { border-color: #2456c8; background: #2456c8; color: #fff; font-weight: 600; padding: 0 8px 0 5px; }
.bar .add svg { stroke-width: 2.2; }
.bar .end { display: flex; gap: 6px; align-items: center; margin-left: auto; }
button[aria-pressed=true] { background: color-mix(in srgb, #2456c8 22%, var(--press)); border-color: #2456c8; }
.background-source { min-height: var(--target); width: auto; max-width: 156px; padding: 0 4px; background: var(--press); cursor: pointer; }
.background { position: absolute; inset: 0; z-index: -1; width: 100%; height: 100%; object-fit: cover; opacity: .5; pointer-events: none; }
.shape { color: var(--quiet); font-variant-numeric: tabular-nums; }

.mat { display: flex; justify-content: center; margin: 6px 0; padding: 10px; border: 1px solid var(--line);
  border-radius: 8px; background: var(--soft); }
.canvas { position: relative; isolation: isolate; width: 100%; aspect-ratio: var(--aspect);
  border-radius: 3px; background-color: var(--field); box-shadow: 0 0 0 1px var(--line), 0 4px 14px #0002; user-select: none; -webkit-user-select: none; }
.canvas.snapping { background-image: linear-gradient(color-mix(in srgb, currentColor 9%, transparent) 1px, transparent 1px),
  linear-gradient(90deg, color-mix(in srgb, currentColor 9%, transparent) 1px, transparent 1px);
  background-size: calc(100% * var(--column)) calc(100% * var(--row)); }
.box { position: absolute; container: box / size; border: 2px solid var(--c); border-radius: 4px; touch-action: none; cursor: move;
  background: color-mix(in srgb, var(--c) 24%, var(--field)); }
.box[aria-pressed=true] { box-shadow: 0 0 0 1px #fff, 0 0 0 2px #14171c; }
.box.locked { cursor: default; }
.over-picture .box { background: color-mix(in srgb, var(--c) 24%, transparent); }
.box.empty { border-style: dashed; background: color-mix(in srgb, var(--c) 20%, transparent); }
.box.off { border-style: dotted; background: repeating-linear-gradient(45deg, #8885 0 2px, transparent 2px 9px); }
.box.off img { opacity: .18; filter: grayscale(1); }
.box.off .tag .name { text-decoration: line-through; }
.box.drop-target { box-shadow: 0 0 0 4px var(--c); }
.box.drop-target::before { content: attr(data-drop); position: absolute; z-index: 2; left: 50%; top: 50%; translate: -50% -50%; padding: 2px 10px; border-radius: 12px;
  background: #14171ce6; color: #fff; font-weight: 600; white-space: nowrap; pointer-events: none; }
.box img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; opacity: .9; pointer-events: none; }
.over-picture .box img { opacity: .6; }
.box .shape { position: absolute; inset: 0; background: var(--c); opacity: .55; mask-repeat: no-repeat; pointer-events: none; }
.box .tag { position: absolute; left: 4px; top: 4px; max-width: calc(100% - 8px); pointer-events: none; }
.tag { display: inline-flex; align-items: center; gap: 5px; overflow: hidden; padding: 1px 7px 1px 1px; border-radius: 10px;
  background: #14171ce6; color: #fff; font-size: 12px; line-height: 18px; white-space: nowrap; }
.tag .name { overflow: hidden; text-overflow: ellipsis; }
.tag .name:empty { display: none; }
.tag:has(.name:empty) { padding-right: 1px; }
.number { flex: none; min-width: 18px; height: 18px; padding: 0 4px; border-radius: 9px; background: var(--c); color: #14171c;
  font-weight: 700; font-size: 12px; line-height: 18px; text-align: center; }
.invite { position: absolute; inset: 26px 4px 4px; display: flex; align-items: center; justify-content: center; text-align: center;
  color: var(--quiet); font-size: 12px; overflow: hidden; pointer-events: none; }
.invite::before { content: attr(data-label); }
.frame { position: absolute; container: frame / size; z-index: 99; pointer-events: none; border-radius: 4px; }
.handle { position: absolute; width: 12px; height: 12px; margin: -6px; border: 2px solid #14171c; border-radius: 3px;
  background: #fff; pointer-events: auto; touch-action: none; }
.handle::before { content: ""; position: absolute; inset: -8px; }
.handle:hover, .handle:active { background: var(--c); }
.handle[data-edges*=n] { top: 0; } .handle[data-edges*=s] { top: 100%; } .handle[data-edges*=w] { left: 0; } .handle[data-edges*=e] { left: 100%; }
.handle[data-edges=n], .handle[data-edges=s] { left: 50%; cursor: ns-resize; }
.handle[data-edges=e], .handle[data-edges=w] { top: 50%; cursor: ew-resize; }
.handle[data-edges=nw], .handle[data-edges=se] { cursor: nwse-resize; }
.handle[data-edges=ne], .handle[data-edges=sw] { cursor: nesw-resize; }
.handle[data-edges=""] { left: 50%; top: 50%; border-radius: 50%; cursor: move; }

.order-line { display: flex; flex-wrap: wrap; gap: 2px 10px; align-items: center; color: var(--quiet); }
.order-line button { min-height: 24px; }
.problem { margin: 6px 0; padding: 5px 9px; border-radius: var(--small); background: #b3261e; color: #fff; }
.problem:empty { display: none; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@container box (max-width: 44px) { .box .tag { left: 50%; translate: -50% 0; max-width: none; padding: 1px; } .tag .name { display: none; } }
@container box (max-width: 16px) { .number { min-width: 14px; height: 15px; padding: 0; font-size: 10px; line-height: 15px; } }
@container frame (max-width: 44px) { :is(.handle[data-edges=n], .handle[data-edges=s], .handle[data-edges=""]) { display: none; } }
@container frame (max-height: 44px) { :is(.handle[data-edges=e], .handle[data-edges=w], .handle[data-edges=""]) { display: none; } }
@container frame (max-width: 28px) { .handle[data-edges*=w] { translate: -5px 0; } .handle[data-edges*=e] { translate: 5px 0; } }
@container box ((max-width: 76px) or (max-height: 60px)) { .invite { display: none; } }
@container (max-width: 460px) { .mat { padding: 12px; } .bar { gap: 4px; } .bar .end { margin-left: 0; } .panel { position: fixed; inset: auto 8px 8px; max-width: none; width: auto; max-height: 70vh; overflow: auto; } }
@media (pointer: coarse) { :host { --target: 44px; } .mat { padding: 24px; } .handle { width: 20px; height: 20px; margin: -10px; border-radius: 5px; }
  .handle::before { inset: -12px; } .order-line button { min-height: 44px; } }
@media (forced-colors: active) { .box, .handle, .number { forced-color-adjust: none; } }
@media (prefers-reduced-motion: no-preference) { button { transition: border-color .12s; } }
`;
