// Styles of the editor, inside its shadow root. The host's theme reaches them through its variables only.

export const STYLES = `
:host { display: block; margin-bottom: 10px; isolation: isolate; container-type: inline-size; color: var(--body-text-color, #1f2937);
  font: 13px/1.45 var(--font, system-ui, sans-serif); --line: var(--border-color-primary, #d4d7de);
  --soft: var(--background-fill-secondary, #f5f6f8); --field: var(--input-background-fill, #fff);
  --accent: var(--color-accent, #2f6fde); --press: var(--button-secondary-background-fill, #eceef2);
  --quiet: color-mix(in srgb, var(--body-text-color, #1f2937) 78%, transparent); --small: 5px; --target: 28px; }
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
.bar { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: center; }
.bar > div { display: flex; flex-wrap: wrap; gap: 3px; }
.bar .add { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; padding: 0 10px 0 7px; }
.bar .add svg { color: var(--accent); stroke-width: 2.2; }
.background-source { min-height: var(--target); max-width: 100%; padding: 0 4px; background: var(--press); font-size: 12px; cursor: pointer; }
.background { position: absolute; inset: 0; z-index: -1; width: 100%; height: 100%; object-fit: cover; opacity: .5; pointer-events: none; }
.shape { margin-left: auto; color: var(--quiet); font-variant-numeric: tabular-nums; }

.mat { display: flex; justify-content: center; margin: 8px 0; padding: 16px; border: 1px solid var(--line);
  border-radius: 8px; background: var(--soft); }
.canvas { position: relative; isolation: isolate; flex: none; width: min(100%, calc(460px * var(--aspect))); aspect-ratio: var(--aspect);
  border-radius: 3px; background-color: var(--field); box-shadow: 0 0 0 1px var(--line), 0 4px 14px #0002; user-select: none; -webkit-user-select: none; }
.canvas.snapping { background-image: linear-gradient(color-mix(in srgb, currentColor 9%, transparent) 1px, transparent 1px),
  linear-gradient(90deg, color-mix(in srgb, currentColor 9%, transparent) 1px, transparent 1px);
  background-size: calc(100% * var(--column)) calc(100% * var(--row)); }
.box { position: absolute; container: box / size; border: 2px solid var(--c); border-radius: 4px; touch-action: none; cursor: move;
  background: color-mix(in srgb, var(--c) 24%, transparent); }
.box.empty { border-style: dashed; background: color-mix(in srgb, var(--c) 9%, transparent); }
.box.off { border-style: dotted; background: repeating-linear-gradient(45deg, #8885 0 2px, transparent 2px 9px); }
.box.off img { opacity: .18; filter: grayscale(1); }
:is(.box.off .tag, .subject.off .identity) .name { text-decoration: line-through; }
.box.drop-target { box-shadow: 0 0 0 4px var(--c); }
.box img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; opacity: .5; pointer-events: none; }
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
.frame { position: absolute; z-index: 99; pointer-events: none; border-radius: 4px; box-shadow: 0 0 0 1px #fff, 0 0 0 2px #14171c; }
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
.subjects { list-style: none; margin: 6px 0 0; padding: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.subject { display: grid; grid-template-columns: minmax(80px, 1fr) 92px auto auto; gap: 4px 12px; align-items: center; padding: 5px 8px; }
.subject + .subject { border-top: 1px solid var(--line); }
.subject.chosen { background: color-mix(in srgb, var(--c) 16%, transparent); }
.subject .identity { display: flex; gap: 7px; align-items: center; overflow: hidden; }
.switch { min-width: max(34px, var(--target)); padding: 0; border: none; background: none; }
.switch i { position: relative; width: 30px; height: 18px; border: 1px solid var(--quiet); border-radius: 9px; background: var(--field); }
.switch i::after { content: ""; position: absolute; left: 2px; top: 2px; width: 12px; height: 12px; border-radius: 6px; background: var(--quiet); }
.switch[aria-checked=true] i { background: var(--c); border-color: #14171c; }
.switch[aria-checked=true] i::after { left: 14px; background: #14171c; }
.subject.off .meter { visibility: hidden; }
.subject .identity .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-weight: 600; }
.subject .identity .name.unnamed { font-weight: 400; color: var(--quiet); }
.visibility { font-size: 12px; color: var(--quiet); }
.visibility.hidden { color: var(--error-text-color, #c62828); font-weight: 600; }
.meter { height: 4px; border-radius: 2px; background: var(--line); overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--c); }
.numbers { display: flex; flex-wrap: wrap; gap: 4px 6px; }
.numbers label { display: inline-flex; gap: 4px; align-items: center; font-size: 12px; color: var(--quiet); }
.numbers input { width: 54px; min-height: 26px; padding: 0 2px 0 6px; background: var(--field); color: var(--body-text-color, #1f2937); }
.subject .actions { display: flex; gap: 3px; }
.problem { margin: 6px 0; padding: 5px 9px; border-radius: var(--small); background: #b3261e; color: #fff; }
.problem:empty { display: none; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@container box ((max-width: 76px) or (max-height: 60px)) { .invite { display: none; } }
@container (max-width: 700px) { .subject { grid-template-columns: minmax(60px, 1fr) 92px auto; } .numbers { grid-area: 2 / 1 / 3 / 4; } .subject .actions { grid-area: 1 / 3; } }
@container (max-width: 420px) { .mat { padding: 14px; } .shape { margin-left: 0; } .bar { gap: 6px; } .subject { grid-template-columns: minmax(60px, 1fr) auto; gap: 4px 8px; }
  .subject .identity { grid-area: 1 / 1 / 2 / 3; } .subject .visibility { grid-area: 2 / 1; } .subject .actions { grid-area: 2 / 2; } .subject .numbers { grid-area: 3 / 1 / 4 / 3; }
  .numbers { display: grid; grid-template-columns: repeat(4, 1fr); } .numbers label { display: block; } .numbers input { width: 100%; } }
@media (pointer: coarse) { :host { --target: 44px; } .mat { padding: 24px; } .handle { width: 20px; height: 20px; margin: -10px; border-radius: 5px; }
  .handle::before { inset: -12px; } .numbers input { min-height: 44px; min-width: 64px; font-size: 16px; } .order-line button { min-height: 44px; } }
@media (forced-colors: active) { .box, .handle, .number { forced-color-adjust: none; } }
@media (prefers-reduced-motion: no-preference) { button { transition: border-color .12s; } }
`;
