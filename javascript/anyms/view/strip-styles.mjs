// Styles of header, menus, film strip, floating bar, inspector and larger view.

export const STRIP_STYLES = `
.header .shape { margin-left: auto; }
.header { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; min-height: 24px; margin-bottom: 4px; }
.pill { padding: 1px 10px; border-radius: 12px; background: var(--soft); border: 1px solid var(--line); font-size: 12px; }
.pill.ready { background: #d6f3df; border-color: #9fd9b2; color: #12502a; }
.first-help { flex: 1 1 200px; color: var(--quiet); }
.menu { position: relative; }
.opens::after { content: ""; border: 4px solid transparent; border-top-color: currentColor; margin: 4px 0 0 2px; }
.panel { position: absolute; z-index: 300; left: 0; top: calc(100% + 3px); display: grid; gap: 3px; width: max-content; max-width: min(320px, 92cqw); padding: 6px;
  border: 1px solid var(--line); border-radius: 8px; background: var(--body-background-fill, #fff); box-shadow: 0 6px 20px #0004; }
.panel button { justify-content: flex-start; white-space: normal; text-align: left; }
.panel .order-line { padding: 4px 2px; max-width: 280px; }
.strip { display: flex; gap: 6px; align-items: stretch; padding: 2px 2px 6px; overflow-x: auto; overflow-y: hidden; position: relative; }
.subjects { display: flex; gap: 6px; list-style: none; margin: 0; padding: 0; }
.subject { flex: none; width: 100px; }
.chip, .add-chip { display: flex; flex-direction: column; align-items: stretch; justify-content: flex-start; gap: 1px; width: 100px; min-height: 80px; padding: 3px 4px; text-align: left; background: var(--field);
  border-top: 3px solid var(--c); white-space: nowrap; touch-action: pan-x; }
.add-chip { align-items: center; justify-content: center; flex: none; border: 1px dashed var(--quiet); color: var(--quiet); background: none; white-space: normal; text-align: center; }
.add-chip.drop-target { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
.frame-of { display: block; height: 38px; border-radius: 3px; overflow: hidden; background: var(--soft); }
.frame-of img { display: block; width: 100%; height: 100%; object-fit: cover; }
.inspected .chip { background: color-mix(in srgb, var(--c) 18%, var(--field)); }
.chosen .chip { border-color: currentColor; border-top-color: var(--c); }
.subject.drop-target .chip { box-shadow: 0 0 0 3px var(--c); }
.subject.off img { opacity: .35; filter: grayscale(1); }
.identity { display: flex; gap: 4px; align-items: center; overflow: hidden; }
.identity .name { overflow: hidden; text-overflow: ellipsis; font-weight: 600; }
.identity .name.unnamed { font-weight: 400; color: var(--quiet); }
.subject.off .name { text-decoration: line-through; }
.visibility { overflow: hidden; text-overflow: ellipsis; font-size: 11px; line-height: 15px; color: var(--quiet); }
.visibility.hidden { color: var(--error-text-color, #c62828); font-weight: 600; }
.subject.warned .chip { position: relative; }
.subject.warned .chip::after { content: "!"; position: absolute; right: 6px; top: 6px; width: 16px; height: 16px; border-radius: 8px;
  background: #f0a830; color: #14171c; font: 700 12px/16px system-ui, sans-serif; text-align: center; }
.stage { position: relative; flex: none; width: min(100%, calc(var(--tall) * var(--aspect, 1))); }
.view { touch-action: pan-x pan-y; }
.view.zoomed { aspect-ratio: var(--aspect); overflow: auto; padding: 8px; border-radius: 3px; scrollbar-width: thin; box-shadow: 0 0 0 1px var(--line); }
.zoomed .canvas { width: calc(100% * var(--zoom)); }
.window { position: relative; }
.whole { position: absolute; z-index: 150; left: 6px; bottom: 6px; border-color: #fff6; background: #14171ce6; color: #fff; font-variant-numeric: tabular-nums; }
.box-bar { --bar: calc(7 * (var(--target) + 3px) + 7px); position: absolute; z-index: 200; display: flex; gap: 3px; width: var(--bar); padding: 4px; border-radius: 8px;
  background: #14171c; box-shadow: 0 2px 8px #0006; }
.box-bar.dragging { visibility: hidden; }
.box-bar button { flex: 1 1 0; min-width: 0; padding: 0; border-color: transparent; background: none; color: #fff; }
.box-bar button:disabled { opacity: .35; }
.box-bar button:focus-visible { outline-color: #fff; }
.box-bar button[aria-pressed=true], .box-bar button[aria-checked=false] { background: #fff; color: #14171c; }
.question { position: absolute; inset: 0; z-index: 400; display: flex; align-items: center; justify-content: center; background: #0006; border-radius: 8px; }
.question[hidden] { display: none; }
.question > div { display: grid; gap: 6px; max-width: 300px; padding: 12px; border-radius: 8px; background: var(--body-background-fill, #fff); box-shadow: 0 6px 20px #0006; }
.desk { position: relative; }
.toast { position: absolute; z-index: 250; left: 50%; bottom: 14px; translate: -50% 0; display: flex; gap: 10px; align-items: center; max-width: 94%; padding: 4px 6px 4px 12px;
  border-radius: 8px; background: #14171cf2; color: #fff; box-shadow: 0 2px 10px #0006; }
.toast button { border-color: #fff6; background: none; color: #fff; }
.offer { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-bottom: 6px; padding: 5px 10px; border: 1px solid #2456c8; border-left-width: 4px; border-radius: var(--small);
  background: color-mix(in srgb, #2456c8 12%, var(--field)); }
.offer span { flex: 1 1 160px; }
.busy img, .busy .frame-of { animation: busy 1s infinite alternate; }
@keyframes busy { to { opacity: .35; } }
.roles { display: flex; flex-wrap: wrap; gap: 2px 10px; align-items: center; border: none; margin: 0; padding: 0; }
.roles .caption { flex: none; color: var(--quiet); font-size: 12px; }
.segments { display: flex; flex: 1 1 220px; gap: 1px; flex-wrap: wrap; border: 1px solid var(--line); border-radius: var(--small);
  background: var(--line); overflow: hidden; }
.segments button { flex: 1 1 min-content; min-width: min-content; border: none; border-radius: 0; background: var(--field); padding: 0 4px; font-size: 12px; line-height: 1.15; white-space: normal; }
.segments button:focus-visible { outline-offset: -3px; }
.segments button[aria-checked=true] { background: color-mix(in srgb, #2456c8 20%, var(--field)); font-weight: 600; }
.inspect { display: grid; gap: 5px; }
.fold { justify-self: start; border: none; background: none; padding: 0; }
.fold::before { content: ""; border: 4px solid transparent; border-left-color: currentColor; margin-right: 5px; }
.fold[aria-expanded=true]::before { transform: rotate(90deg) translateX(2px); }
.mask { height: 28px; max-width: 56px; background: #000; border-radius: 3px; }
.folded { display: grid; gap: 5px; }
.numbers { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 4px 6px; }
.numbers label { display: block; font-size: 12px; color: var(--quiet); }
.numbers input { width: 100%; min-width: 0; min-height: 28px; padding: 0 2px 0 6px; background: var(--field); color: var(--body-text-color, #1f2937); }
.larger { width: 92vw; max-width: none; height: 90vh; max-height: none; padding: 10px; border: 1px solid var(--line); border-radius: 10px; overflow: auto;
  background: var(--body-background-fill, #fff); color: inherit; }
.larger .mat { --tall: calc(90vh - 110px); }
.larger::backdrop { background: #0009; }
.give-dialog { max-width: min(340px, 92vw); padding: 12px; border: 1px solid var(--line); border-radius: 10px; background: var(--body-background-fill, #fff); color: inherit; }
.give-dialog[open] { display: grid; gap: 8px; }
.give-dialog .choices { display: flex; flex-wrap: wrap; gap: 5px; }
.give-dialog label { display: flex; gap: 6px; align-items: center; min-height: var(--target); }
.give-dialog::backdrop { background: #0009; }
.foot { display: flex; flex-wrap: wrap; gap: 6px; }
.foot button { flex: 1 1 auto; }
@container (min-width: 800px) { .mat { --tall: 400px; } }
@container (max-width: 460px) { .box-bar { position: static !important; width: 100%; margin-top: 6px; visibility: visible !important; } .add-chip { width: 76px; } }
@media (pointer: coarse) { .box-bar { position: static !important; flex-wrap: wrap; width: 100%; margin-top: 8px; visibility: visible !important; }
  .box-bar button { flex: 1 1 44px; min-width: 44px; } .segments button { min-height: 44px; padding: 0 12px; } .fold { min-height: 44px; } .numbers input { min-height: 44px; font-size: 16px; } }
`;
