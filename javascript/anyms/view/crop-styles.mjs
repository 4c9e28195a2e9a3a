// Styles of the crop dialog.

export const CROP_STYLES = `
.crop-dialog { width: min(760px, 96vw); max-height: 96vh; overflow: auto; padding: 12px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--body-background-fill, #fff); color: inherit; }
.crop-dialog::backdrop { background: #0009; }
.crop-dialog h2 { margin: 0 0 8px; font-size: 15px; }
.crop-dialog .sheet { display: flex; justify-content: center; padding: 14px; border-radius: 8px; background: var(--soft); }
.crop-dialog .crop-area { position: relative; flex: none; touch-action: none; user-select: none; -webkit-user-select: none; }
.crop-dialog .crop-area > canvas { display: block; width: min(660px, 78vw, calc(46vh * var(--aspect))); height: auto; background: #fff; }
.crop-dialog .shade { position: absolute; inset: 0; background: #14171cb0; pointer-events: none; }
.crop-dialog .crop-frame { position: absolute; cursor: move; box-shadow: 0 0 0 1px #fff, 0 0 0 2px #14171c; --c: var(--accent); }
.crop-dialog .crop-area.painting { cursor: crosshair; }
.crop-dialog .crop-area.painting .crop-frame { pointer-events: none; }
.crop-dialog .crop-area.painting .handle { display: none; }
.crop-dialog .bar { margin: 8px 0; }
.crop-dialog .bar label { display: inline-flex; gap: 6px; align-items: center; color: var(--quiet); font-size: 12px; }
.crop-dialog input[type=number] { width: 60px; min-height: 28px; padding: 0 2px 0 6px; background: var(--field); color: var(--body-text-color, #1f2937); }
.crop-dialog .crop-help { margin: 8px 0 4px; color: var(--quiet); font-size: 12px; }
.crop-dialog .squares { display: flex; gap: 8px; flex-wrap: wrap; }
.crop-dialog .squares button { flex-direction: column; padding: 5px; }
.crop-dialog .squares canvas { width: 96px; height: 96px; background: #fff; border-radius: 3px; }
.crop-dialog .end { position: sticky; bottom: -12px; justify-content: flex-end; margin: 8px -12px -12px; padding: 8px 12px; border-top: 1px solid var(--line);
  background: var(--body-background-fill, #fff); }
.crop-dialog .leaving { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-right: auto; font-weight: 600; }
.crop-dialog .brush-circle { position: absolute; border: 1px solid #fff; border-radius: 50%; box-shadow: 0 0 0 1px #14171c; pointer-events: none; }
.crop-dialog .end .use { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; padding: 0 12px; }
@media (pointer: coarse) { .crop-dialog input { min-height: 44px !important; } .crop-dialog input[type=number] { width: 72px; font-size: 16px; } }
`;
