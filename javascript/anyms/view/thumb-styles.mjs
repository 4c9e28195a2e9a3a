// Styles of the pictures in a slot's card.

export const THUMB_STYLES = `
:host { margin: 0; }
.place { display: grid; grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)); gap: 5px; padding: 5px; border: 1px dashed var(--line);
  align-content: start; min-height: 130px; border-radius: 8px; background: var(--field); }
.place:focus-within { border-color: var(--accent); }
.place.drop-target { border-color: var(--c); box-shadow: 0 0 0 2px var(--c); }
.thumbs { display: contents; list-style: none; }
.thumb { position: relative; height: 72px; border-radius: 5px; overflow: hidden; background: var(--soft); }
.place.one .thumb { grid-column: 1 / -1; height: 96px; }
.thumb img { display: block; width: 100%; height: 100%; object-fit: contain; }
.thumb .crop { position: absolute; inset: 0; width: 100%; height: 100%; border: 0; background: transparent; }
.thumb .crop:hover::after { content: ""; position: absolute; inset: 0; box-shadow: inset 0 0 0 2px var(--accent); border-radius: 5px; }
.thumb .scissors { position: absolute; left: 3px; bottom: 3px; display: inline-flex; padding: 4px; border-radius: 5px; background: #14171ccc; color: #fff; }
.thumb .actions { position: absolute; right: 3px; top: 3px; display: flex; gap: 3px; }
.thumb .give { position: absolute; right: 3px; bottom: 3px; }
@media (hover: hover) and (pointer: fine) { .thumb:not(:hover, :focus-within) .give { opacity: 0; } }
.thumb button { min-width: 26px; min-height: 26px; padding: 0; background: #14171ccc; color: #fff; border-color: #fff6; }
.thumb button:focus-visible { outline-color: #fff; outline-offset: -3px; }
.more { min-height: 36px; white-space: normal; border-style: none; background: transparent; color: var(--quiet); line-height: 1.25; }
.more svg { color: var(--accent); stroke-width: 2; }
.place.none .more { grid-column: 1 / -1; min-height: 120px; flex-direction: column; gap: 8px; }
.place.one .more { grid-column: 1 / -1; }
.place.full .more { display: none; }
.count { display: flex; justify-content: space-between; padding: 2px 2px 0; font-size: 12px; color: var(--quiet); }
@media (pointer: coarse) { .thumb { height: 112px; } .thumb .actions { gap: 6px; } .thumb button { min-width: 44px; min-height: 44px; }
  .place { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); } .more { min-height: 48px; } }
`;
