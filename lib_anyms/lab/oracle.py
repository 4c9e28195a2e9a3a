"""Who a figure is and where figures are, without a network: the best fit of rendered templates to the picture's latent
cells.

A cell under a figure is ground + body * (colour of the body - ground) + second * (second colour - ground) with the
template's coverage `body` and `second`. So the squared error of every template with every pair of colours is a
quadratic form in a few sums, which convolutions give. All pictures are (3, h, w), the mean colours of latent cells in
0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F

from lib_anyms.lab.world.draw import rgb
from lib_anyms.lab.world.identity import ALL_COLOURS, ALL_SHAPES, ATTRIBUTES, PATTERNS, VALUES, Identity
from lib_anyms.lab.world.scene import GROUNDS, Figure
from lib_anyms.lab.world.shapes import coverage
from lib_anyms.layout.geometry import Box

_WINDOW = 18  # cells a side of a template
_RADII = (3.0, 3.3, 3.6, 3.95, 4.3, 4.7, 5.2, 5.7, 6.3, 6.9, 7.6)
_MIRRORED = ("moon", "fish")  # silhouettes that a mirror changes
_SHIFT = 3  # cells a figure may be off the box it is looked for in
# Factors between the long side of a template and that of what it is fitted to: a box, a coarse fit.
_NEAR_SIZE, _SAME_SIZE = 1.35, 1.7
_FLAT = 1.0  # squared error against the ground alone of a box that holds nothing
_OTHER = 0.13  # root mean square distance of colours from which a cell is not of the ground
_EXPLAINED = 0.5  # share of the energy under a template that it must explain to count as a figure
_LEFT = 0.1  # how much a template is worse for the energy that it covers and does not explain
_SEEN = 0.4  # share of a figure's cells that nothing before has explained
_RESIDUAL = 0.2  # distance of colours up to which a cell is explained by a template
_LUMP = 12  # cells of something that no template explains
_MOST = 16  # figures looked for


@dataclass(frozen=True)
class Templates:
    """K templates. parts (K, 2, W, W): coverage by body and second colour. kinds (K,): shape * patterns + pattern.

    edges (K, 4): x0, y0, x1, y1 of the silhouette in the window, in cells.
    """

    parts: torch.Tensor
    kinds: torch.Tensor
    edges: torch.Tensor

    @property
    def long_sides(self) -> torch.Tensor:
        """(K,) of the silhouettes, in cells."""
        return (self.edges[:, 2:] - self.edges[:, :2]).amax(1)

    def near(self, long_side: float, factor: float) -> Templates:
        """Those whose long side differs by at most that factor; all if there are none."""
        sides = self.long_sides
        near = (sides < long_side * factor) & (sides > long_side / factor)
        return Templates(self.parts[near], self.kinds[near], self.edges[near]) if near.any() else self


@cache
def templates(fine: bool) -> Templates:
    """The fine ones, in cells and half cells; or the coarse ones, for pictures of half the size: for the first search."""
    parts, kinds, edges = [], [], []
    scale = 1.0 if fine else 0.5
    side = round(_WINDOW * scale)
    offsets = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)) if fine else ((0.0, 0.0),)
    for number, shape in enumerate(ALL_SHAPES):
        for place, pattern in enumerate(PATTERNS):
            for flipped in (False, True) if shape in _MIRRORED and pattern != "side" else (False,):
                for radius, (x, y) in product(_RADII, offsets):
                    centre, window = (side / 2 + x, side / 2 + y), (range(side), range(side))
                    part = coverage(shape, pattern, centre, radius * scale, 0.0, flipped, window)
                    figure = Figure(Identity(shape, "red", "blue", pattern), *centre, radius * scale, 0.0, flipped)
                    x0, y0, x1, y1 = figure.offsets
                    parts.append(torch.from_numpy(part))
                    kinds.append(number * len(PATTERNS) + place)
                    edges.append((centre[0] + x0, centre[1] + y0, centre[0] + x1, centre[1] + y1))
    return Templates(torch.stack(parts), torch.tensor(kinds), torch.tensor(edges))


@dataclass(frozen=True)
class Reading:
    """errors: the squared error of every identity at its best, (shapes, bodies, seconds, patterns); 0 is that of the
    ground.
    """

    errors: torch.Tensor

    @property
    def identity(self) -> Identity | None:
        """The identity that fits best; None where the ground alone fits as well."""
        best = self.errors.argmin()
        if self.errors.flatten()[best] >= -_FLAT / 2:
            return None
        places = torch.unravel_index(best, self.errors.shape)
        return Identity(*(VALUES[name][int(place)] for name, place in zip(ATTRIBUTES, places)))

    def best(self, candidates: Sequence[Identity]) -> int | None:
        """Which candidate fits best; None where the ground alone fits as well."""
        found = torch.stack([self.errors[candidate.numbers] for candidate in candidates])
        return int(found.argmin()) if found.min() < -_FLAT / 2 else None


@dataclass(frozen=True)
class Found:
    """A figure found: its box in 0..1, the cells it covers (h, w), and the energy it explains."""

    box: Box
    cells: torch.Tensor
    energy: float


def read_ground(cells: torch.Tensor, boxes: Iterable[Box]) -> str:
    """The ground whose colour is nearest to the median of the cells outside the boxes, or of all if little is outside."""
    outside = torch.ones(cells.shape[1:], dtype=torch.bool)
    for box in boxes:
        outside[_cells_of(box, cells, margin=1)] = False
    chosen = cells[:, outside] if outside.sum() > 8 else cells.flatten(1)
    median = chosen.median(1).values
    return min(GROUNDS, key=lambda name: float((median - _colour(name)).square().sum()))


def read_figure(cells: torch.Tensor, ground: str, box: Box, hidden: Sequence[Box] = ()) -> Reading:
    """How well each identity fits the box.

    Cells outside the box count as ground, those in `hidden` boxes not at all.
    """
    rows, columns = _cells_of(box, cells, margin=1)
    seen = torch.ones(cells.shape[1:])
    for other in hidden:
        seen[_cells_of(other, cells)] = 0
    off = torch.zeros_like(cells)
    off[:, rows, columns] = cells[:, rows, columns] - _colour(ground)[:, None, None]
    off *= seen  # or a hidden figure would still pull templates to its colours
    middle = (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2
    chosen = templates(True).near(max(rows.stop - rows.start, columns.stop - columns.start) - 2, _NEAR_SIZE)
    errors = _errors_around(off, seen, chosen, middle, ground).flatten(3).amin(3)  # (bodies, seconds, K)
    kinds = len(ALL_SHAPES) * len(PATTERNS)
    best = errors.new_full((*errors.shape[:2], kinds), torch.inf)
    best = best.scatter_reduce(2, chosen.kinds.expand_as(errors), errors, "amin")
    return Reading(best.unflatten(2, (len(ALL_SHAPES), len(PATTERNS))).permute(2, 0, 1, 3))


def find_figures(cells: torch.Tensor, ground: str) -> list[Found]:
    """The figures of a picture, the one that explains most first: templates, one after the other, then what none
    explains.

    Where a template's colours are wrong the cells stay unexplained, so that a figure on top of another is found after
    it.
    """
    off = cells - _colour(ground)[:, None, None]
    free = torch.ones(cells.shape[1:])
    found: list[Found] = []
    while len(found) < _MOST:
        figure, explained = _best_template(off, free, ground)
        if figure is None:
            break
        found.append(figure)
        free = free * ~explained
    rest = _not_ground(off) & (free > 0)
    for lump in _lumps(rest):
        energy = float(off[:, lump].square().sum())
        found.append(Found(_box_of(lump), lump, energy))
    return sorted(found, key=lambda figure: -figure.energy)


def _best_template(off: torch.Tensor, free: torch.Tensor, ground: str) -> tuple[Found | None, torch.Tensor]:
    """The template that explains most of the free cells, and the cells it explains; None if none explains enough."""
    middle, long_side = _coarse_search(off * free, free, ground)
    chosen = templates(True).near(long_side, _SAME_SIZE)
    errors = _errors_around(off * free, free, chosen, middle, ground)
    explains = -errors.flatten(0, 1).amin(0)  # (K, 2 S + 1, 2 S + 1)
    here = _window(off * free, middle)
    worth = _worth(explains, here, chosen)
    number, down, across = (int(n) for n in torch.unravel_index(worth.argmax(), worth.shape))
    energy = float(explains[number, down, across])
    pair = int(errors[:, :, number, down, across].argmin())
    body, second = divmod(pair, len(ALL_COLOURS))
    reach, (height, width) = _WINDOW // 2 + _SHIFT, off.shape[1:]
    canvas = off.new_zeros(2, height + 2 * reach, width + 2 * reach)
    top, left = middle[0] + down, middle[1] + across
    canvas[:, top : top + _WINDOW, left : left + _WINDOW] = chosen.parts[number]
    parts = canvas[:, reach : reach + height, reach : reach + width]
    colours = _figure_colours(ground)
    drawn = parts[0] * colours[body][:, None, None] + parts[1] * colours[second][:, None, None]
    covered = parts.sum(0) > 0.3
    under = float((off.square().sum(0) * free * covered).sum())
    seen = covered & (free > 0) & _not_ground(off)
    explained = _edge(covered) | (covered & ((off - drawn).square().mean(0).sqrt() < _RESIDUAL))
    if energy < max(_FLAT, _EXPLAINED * under) or seen.sum() < _SEEN * covered.sum():
        return None, explained
    x0, y0, x1, y1 = (chosen.edges[number] + torch.tensor([left, top, left, top]) - reach).tolist()
    box = Box(max(0.0, x0 / width), max(0.0, y0 / height), min(1.0, x1 / width), min(1.0, y1 / height))
    return Found(box, covered, energy), explained


def _worth(explains: torch.Tensor, off: torch.Tensor, known: Templates) -> torch.Tensor:
    """The energy a template explains, less what it covers and does not explain: else one template takes two neighbours.

    explains (K, h', w'); off (3, h, w): the picture less the ground. -> (K, h', w').
    """
    covered = _correlate(off.square().sum(0)[None], (known.parts.sum(1) > 0.3).float())[0]
    return explains - _LEFT * (covered - explains)


def _not_ground(off: torch.Tensor) -> torch.Tensor:
    return off.square().mean(0).sqrt() > _OTHER


def _edge(covered: torch.Tensor) -> torch.Tensor:
    """The cells along a silhouette's edge, where a template half a cell off leaves something: they count as explained."""
    grown, shrunk = (F.max_pool2d(part.float()[None], 3, 1, 1)[0] > 0 for part in (covered, ~covered))
    return grown & shrunk


def _coarse_search(off: torch.Tensor, free: torch.Tensor, ground: str) -> tuple[tuple[int, int], float]:
    """At half the size: the (row, column) of the middle and the long side, in cells, of the template that explains
    most.

    The few cells that are part body, part second colour are not counted right here; that makes the two colours
    independent.
    """
    known, colours = templates(False), _figure_colours(ground)
    margin = known.parts.shape[-1] // 2
    half, seen = F.pad(F.avg_pool2d(off, 2), [margin] * 4), F.pad(F.avg_pool2d(free[None], 2), [margin] * 4)
    dots = _correlate(half, known.parts.flatten(0, 1))
    sums = _correlate(seen, known.parts.square().flatten(0, 1))[0]
    each = colours.square().sum(1)[:, None, None, None] * sums - 2 * torch.einsum("rkyx,cr->ckyx", dots, colours)
    worth = _worth(-each.amin(0).unflatten(0, (-1, 2)).sum(1), half, known)
    number, row, column = (int(n) for n in torch.unravel_index(worth.argmax(), worth.shape))
    return (2 * row, 2 * column), 2 * float(known.long_sides[number])


def _errors_around(
    off: torch.Tensor, seen: torch.Tensor, known: Templates, middle: tuple[int, int], ground: str
) -> torch.Tensor:
    """Squared error of every template with every pair of colours, less that of the ground, up to _SHIFT cells from
    `middle`.

    off (3, h, w): the picture less the ground, 0 where it is not seen. seen (h, w). -> (bodies, seconds, K, 2 S + 1, 2
    S + 1).
    """
    colours = _figure_colours(ground)
    off, seen = _window(off, middle), _window(seen[None], middle)[0]
    dots = _correlate(off, known.parts.flatten(0, 1)).unflatten(1, (-1, 2))  # (3, K, 2, 2 S + 1, 2 S + 1)
    with_colour = torch.einsum("rkpyx,cr->cpkyx", dots, colours)
    squares = torch.stack((known.parts[:, 0] ** 2, known.parts[:, 1] ** 2, known.parts[:, 0] * known.parts[:, 1]), 1)
    sums = _correlate(seen[None], squares.flatten(0, 1))[0].unflatten(0, (-1, 3))
    inner = colours @ colours.T
    body, second = (inner.diagonal()[:, None, None, None] * sums[:, n] - 2 * with_colour[:, n] for n in (0, 1))
    errors = inner[:, :, None, None, None] * (2 * sums[:, 2])
    errors.add_(body[:, None]).add_(second[None])
    errors[torch.arange(len(colours)), torch.arange(len(colours))] = torch.inf  # one colour alone is no identity
    return errors


def _window(pictures: torch.Tensor, middle: tuple[int, int]) -> torch.Tensor:
    """(n, h, w) -> (n, 2 R, 2 R) around `middle`, R = W / 2 + S; zeros beyond the edge."""
    reach = _WINDOW // 2 + _SHIFT
    rows, columns = (slice(place, place + 2 * reach) for place in middle)
    return F.pad(pictures, [reach] * 4)[:, rows, columns]


def _correlate(pictures: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """(n, h, w) with (K, W, W) -> (n, K, h - W + 1, w - W + 1).

    As one product of matrices: F.conv2d takes ten times as long.
    """
    side = masks.shape[-1]
    places = pictures.shape[-2] - side + 1, pictures.shape[-1] - side + 1
    windows = F.unfold(pictures[:, None], side)  # (n, W * W, places)
    return (masks.flatten(1) @ windows).unflatten(-1, places)


@cache
def _colour(name: str) -> torch.Tensor:
    return torch.from_numpy(rgb(name))


def _figure_colours(ground: str) -> torch.Tensor:
    """(colours, 3), less the ground."""
    return torch.stack([_colour(name) for name in ALL_COLOURS]) - _colour(ground)


def _cells_of(box: Box, cells: torch.Tensor, margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns of cells that a box covers by half at least, and a margin around them."""
    height, width = cells.shape[-2:]

    def span(low: float, high: float, side: int) -> slice:
        first, last = math.floor(low * side + 0.5), math.ceil(high * side - 0.5)
        return slice(max(0, first - margin), min(side, max(last, first + 1) + margin))

    return span(box.y0, box.y1, height), span(box.x0, box.x1, width)


def _edges(inside: torch.Tensor) -> tuple[int, int, int, int]:
    """top, left, bottom, right of the cells that are True."""
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _box_of(inside: torch.Tensor) -> Box:
    top, left, bottom, right = _edges(inside)
    height, width = inside.shape
    return Box(left / width, top / height, right / width, bottom / height)


def _lumps(inside: torch.Tensor) -> list[torch.Tensor]:
    """The connected parts of a mask (h, w) that have enough cells."""
    height, width = inside.shape
    labels = torch.arange(1, height * width + 1, dtype=torch.float32).view(height, width) * inside
    while True:
        grown = F.max_pool2d(labels[None], 3, 1, 1)[0] * inside
        if torch.equal(grown, labels):
            break
        labels = grown
    parts = [labels == label for label in labels.unique() if label]
    return [part for part in parts if part.sum() >= _LUMP]
