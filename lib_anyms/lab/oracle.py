"""Read identities and find figures without a network: fit rendered templates to the image's latent cells.

A cell under a figure is background + body * (body's colour - background) + second * (second colour - background), with
the template's coverage `body` and `second`. So the squared error of every template with every pair of colours is a
quadratic form in a few sums, which correlations give. All images are (3, h, w), the mean colours of latent cells in
0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import torch
import torch.nn.functional as F

from lib_anyms.lab.world.draw import coverage, rgb
from lib_anyms.lab.world.identity import ALL_COLOURS, ALL_SHAPES, ATTRIBUTES, PATTERNS, VALUES, Identity
from lib_anyms.lab.world.scene import BACKGROUNDS, Figure
from lib_anyms.layout.geometry import Box

_WINDOW = 18  # cells a side of a template
_RADII = (3.0, 3.3, 3.6, 3.95, 4.3, 4.7, 5.2, 5.7, 6.3, 6.9, 7.6)
_MIRRORED = ("moon", "fish")  # silhouettes that a mirror changes
_KINDS = len(ALL_SHAPES) * len(PATTERNS)
_SHIFT = 3  # cells: how far a figure may be from the box or the coarse fit
# Largest factor between the long side of a template and that of a box, or of a coarse fit.
_NEAR_SIZE, _SAME_SIZE = 1.35, 1.7
_FLAT = 1.0  # a smaller gain in squared error over the bare background is no figure
_OTHER = 0.13  # root mean square distance of colours from which a cell is not background
_EXPLAINED = 0.5  # share of the energy under a template that it must explain to count as a figure
_LEFT = 0.1  # penalty for the energy that a template covers and does not explain
_SEEN = 0.4  # share of a figure's cells that no earlier figure explains
_RESIDUAL = 0.2  # distance of colours up to which a template explains a cell
_MIN_CELLS = 12  # of a region that no template explains, to count as a figure
_MOST = 16  # figures
_EXACT = 256  # templates and places that are compared exactly first


@dataclass(frozen=True)
class Templates:
    """K templates, ordered by the long side of their silhouettes.

    parts (K, 2, W, W): coverage by body and second colour. kinds (K,): shape * patterns + pattern.
    edges (K, 4): x0, y0, x1, y1 of the silhouette in the window, in cells.
    """

    parts: torch.Tensor
    kinds: torch.Tensor
    edges: torch.Tensor

    @cached_property
    def long_sides(self) -> torch.Tensor:
        """(K,) of the silhouettes, in cells."""
        return (self.edges[:, 2:] - self.edges[:, :2]).amax(1)

    @cached_property
    def squares(self) -> torch.Tensor:
        """(K, 3, W, W): body squared, second squared, body times second."""
        body, second = self.parts.unbind(1)
        return torch.stack((body * body, second * second, body * second), 1)

    @cached_property
    def covered(self) -> torch.Tensor:
        """(K, W, W): 1 in the cells under the figure."""
        return (self.parts.sum(1) > 0.3).float()

    def near(self, long_side: float, factor: float) -> slice:
        """The templates whose long side differs by less than this factor; all if there are none."""
        sides = self.long_sides
        first = int(torch.searchsorted(sides, torch.tensor(long_side / factor), right=True))
        last = int(torch.searchsorted(sides, torch.tensor(long_side * factor)))
        return slice(first, last) if first < last else slice(None)


@cache
def templates(fine: bool) -> Templates:
    """Fine ones, at whole and half cells; or coarse ones for images of half the size, for the first search."""
    scale = 1.0 if fine else 0.5
    side = round(_WINDOW * scale)
    offsets = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)) if fine else ((0.0, 0.0),)
    parts, kinds, edges = [], [], []
    for kind, identity, flipped in _kinds():
        for radius, (x, y) in product(_RADII, offsets):
            # In cells: coverage() with an image of side 1 takes lengths as they are.
            figure = Figure(identity, side / 2 + x, side / 2 + y, radius * scale, 0.0, flipped)
            x0, y0, x1, y1 = figure.offsets
            parts.append(torch.from_numpy(coverage(figure, 1, (range(side), range(side)))))
            kinds.append(kind)
            edges.append((figure.x + x0, figure.y + y0, figure.x + x1, figure.y + y1))
    result = Templates(torch.stack(parts), torch.tensor(kinds), torch.tensor(edges))
    order = result.long_sides.argsort(stable=True)
    return Templates(result.parts[order], result.kinds[order], result.edges[order])


def _kinds() -> Iterator[tuple[int, Identity, bool]]:
    """(kind, an identity of this kind, flipped)."""
    for number, (shape, pattern) in enumerate(product(ALL_SHAPES, PATTERNS)):
        yield number, Identity(shape, "red", "blue", pattern), False
        if shape in _MIRRORED and pattern != "side":
            yield number, Identity(shape, "red", "blue", pattern), True


@dataclass(frozen=True)
class Reading:
    """errors (shapes, bodies, seconds, patterns): each identity's least squared error, less the background's alone."""

    errors: torch.Tensor

    @property
    def identity(self) -> Identity | None:
        """The identity that fits best; None where the background alone fits as well."""
        best = self.errors.argmin()
        if self.errors.flatten()[best] >= -_FLAT / 2:
            return None
        places = torch.unravel_index(best, self.errors.shape)
        return Identity(*(VALUES[name][int(place)] for name, place in zip(ATTRIBUTES, places)))

    def best(self, candidates: Sequence[Identity]) -> int | None:
        """Which candidate fits best; None where the background alone fits as well."""
        errors = torch.stack([self.errors[candidate.numbers] for candidate in candidates])
        return int(errors.argmin()) if errors.min() < -_FLAT / 2 else None


@dataclass(frozen=True)
class Detection:
    """A figure in an image: its box in 0..1, the cells it covers (h, w), and the energy it explains."""

    box: Box
    cells: torch.Tensor
    energy: float


def read_background(cells: torch.Tensor, boxes: Iterable[Box]) -> str:
    """The background nearest to the median colour outside the boxes, or of the whole image if little is outside."""
    outside = torch.ones(cells.shape[1:], dtype=torch.bool)
    for box in boxes:
        outside[_cells_of(box, cells, margin=1)] = False
    chosen = cells[:, outside] if outside.sum() > 8 else cells.flatten(1)
    median = chosen.median(1).values
    return min(BACKGROUNDS, key=lambda name: float((median - _colour(name)).square().sum()))


def read_figure(cells: torch.Tensor, background: str, box: Box, hidden: Sequence[Box] = ()) -> Reading:
    """How well each identity fits the box. Cells outside it count as background; those in `hidden` do not count."""
    rows, columns = _cells_of(box, cells, margin=1)
    seen = torch.ones(cells.shape[1:])
    for other in hidden:
        seen[_cells_of(other, cells)] = 0
    off = torch.zeros_like(cells)
    off[:, rows, columns] = cells[:, rows, columns] - _colour(background)[:, None, None]
    off *= seen  # or a hidden figure would still pull templates to its colours
    middle = (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2
    near = templates(True).near(max(rows.stop - rows.start, columns.stop - columns.start) - 2, _NEAR_SIZE)
    fit = _fit_around(off, seen, near, middle, background)
    kinds = templates(True).kinds[near].expand(len(ALL_COLOURS), -1)
    best = off.new_full((len(ALL_COLOURS), len(ALL_COLOURS), _KINDS), torch.inf)
    for body, errors in enumerate(best):  # one at a time: all at once do not fit a core's cache
        errors.scatter_reduce_(1, kinds, fit.errors_of_body(body).amin(2), "amin")
    return Reading(best.unflatten(2, (len(ALL_SHAPES), len(PATTERNS))).permute(2, 0, 1, 3))


def find_figures(cells: torch.Tensor, background: str) -> list[Detection]:
    """The figures of an image, by falling energy: fit one template after the other, then add unexplained regions.

    Where a template's colours are wrong the cells stay unexplained, so a figure on top of another is found after it.
    """
    off = cells - _colour(background)[:, None, None]
    free = torch.ones(cells.shape[1:])
    detections: list[Detection] = []
    least = _SEEN * float(templates(True).covered.sum((1, 2)).min())
    while len(detections) < _MOST and (_not_background(off) & (free > 0)).sum() >= least:
        figure, explained = _best_template(off, free, background)
        if figure is None:
            break
        detections.append(figure)
        free = free * ~explained
    for region in _regions(_not_background(off) & (free > 0)):
        energy = float(off[:, region].square().sum())
        detections.append(Detection(_box_of(region), region, energy))
    return sorted(detections, key=lambda figure: -figure.energy)


def _best_template(off: torch.Tensor, free: torch.Tensor, background: str) -> tuple[Detection | None, torch.Tensor]:
    """The template that explains most of the free cells, None if it explains too little; and the cells it explains."""
    middle, long_side = _coarse_search(off * free, free, background)
    near = templates(True).near(long_side, _SAME_SIZE)
    fit = _fit_around(off * free, free, near, middle, background)
    energies = _window((off * free).square().sum(0)[None], middle)
    covered_energy = _correlate(energies, templates(True).covered[near])[0].flatten(1)
    number, place, body, second, error = fit.best(covered_energy)
    down, across = divmod(place, 2 * _SHIFT + 1)
    chosen = near.indices(len(templates(True).kinds))[0] + number
    reach, (height, width) = _WINDOW // 2 + _SHIFT, off.shape[1:]
    canvas = off.new_zeros(2, height + 2 * reach, width + 2 * reach)
    top, left = middle[0] + down, middle[1] + across
    canvas[:, top : top + _WINDOW, left : left + _WINDOW] = templates(True).parts[chosen]
    parts = canvas[:, reach : reach + height, reach : reach + width]
    colours = _figure_colours(background)
    drawn = parts[0] * colours[body][:, None, None] + parts[1] * colours[second][:, None, None]
    covered = parts.sum(0) > 0.3
    under = float((off.square().sum(0) * free * covered).sum())
    seen = covered & (free > 0) & _not_background(off)
    explained = _edge(covered) | (covered & ((off - drawn).square().mean(0).sqrt() < _RESIDUAL))
    if -error < max(_FLAT, _EXPLAINED * under) or seen.sum() < _SEEN * covered.sum():
        return None, explained
    x0, y0, x1, y1 = (templates(True).edges[chosen] + torch.tensor([left, top, left, top]) - reach).tolist()
    box = Box(max(0.0, x0 / width), max(0.0, y0 / height), min(1.0, x1 / width), min(1.0, y1 / height))
    return Detection(box, covered, -error), explained


def _worth(explained: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """The energy a template explains, less a penalty for the rest it covers: or one template takes two neighbours."""
    return explained - _LEFT * (covered - explained)


def _not_background(off: torch.Tensor) -> torch.Tensor:
    return off.square().mean(0).sqrt() > _OTHER


def _edge(covered: torch.Tensor) -> torch.Tensor:
    """The cells along a silhouette's edge. They count as explained: a template is off by up to half a cell there."""
    grown, shrunk = (F.max_pool2d(part.float()[None], 3, 1, 1)[0] > 0 for part in (covered, ~covered))
    return grown & shrunk


def _coarse_search(off: torch.Tensor, free: torch.Tensor, background: str) -> tuple[tuple[int, int], float]:
    """At half the size: (row, column) of the middle, and the long side, in cells, of the most useful template.

    The few cells of mixed colour are ignored here: then the two colours are independent.
    """
    known, colours = templates(False), _figure_colours(background)
    margin = known.parts.shape[-1] // 2
    half, seen = F.pad(F.avg_pool2d(off, 2), [margin] * 4), F.pad(F.avg_pool2d(free[None], 2), [margin] * 4)
    dots = _correlate(half, known.parts.flatten(0, 1))
    sums = _correlate(seen, known.parts.square().flatten(0, 1))[0]
    best = torch.full_like(sums, torch.inf)
    for colour in colours:  # one at a time, for the cache
        error = torch.mul(dots[0], -2 * colour[0]).add_(dots[1], alpha=-2 * float(colour[1]))
        error.add_(dots[2], alpha=-2 * float(colour[2])).add_(sums, alpha=float(colour.square().sum()))
        torch.minimum(best, error, out=best)
    covered = _correlate(half.square().sum(0)[None], known.covered)[0]
    worth = _worth(-best.unflatten(0, (-1, 2)).sum(1), covered)
    number, row, column = (int(n) for n in torch.unravel_index(worth.argmax(), worth.shape))
    return (2 * row, 2 * column), 2 * float(known.long_sides[number])


@dataclass(frozen=True)
class _Fit:
    """Squared errors of K templates at P places with every pair of colours, less that of the background, as a sum.

    error[b, s] = body[b] + second[s] + inner[b, s] * mixed, for b != s: one colour alone is no identity.
    body, second (colours, K, P); mixed (K, P), not negative; inner (colours, colours).
    """

    body: torch.Tensor
    second: torch.Tensor
    mixed: torch.Tensor
    inner: torch.Tensor

    def errors_of_body(self, body: int) -> torch.Tensor:
        """(seconds, K, P) for one body colour."""
        errors = (self.inner[body][:, None, None] * self.mixed).add_(self.second).add_(self.body[body])
        errors[body] = torch.inf
        return errors

    def best(self, covered: torch.Tensor) -> tuple[int, int, int, int, float]:
        """(template, place, body, second, error) of the largest `_worth`; covered (K, P): the energy under each.

        A lower bound of the error picks the candidates, then their exact errors decide. So the result is the exact one.
        """
        most = len(self.inner)
        different = ~torch.eye(most, dtype=torch.bool)
        bound = self.body.amin(0) + self.second.amin(0) + self.inner[different].min() * self.mixed
        bounds = _worth(-bound, covered).flatten()
        candidates = bounds.topk(min(_EXACT, len(bounds))).indices
        worths, _ = self._exact(candidates, covered)
        candidates = (bounds >= worths.max() - 1e-3).nonzero().flatten()  # 1e-3: rounding
        worths, errors = self._exact(candidates, covered)
        best = int(worths.argmax())
        pair = int(errors[best].argmin())
        place = int(candidates[best])
        return *divmod(place, covered.shape[1]), *divmod(pair, most), float(errors[best, pair])

    def _exact(self, candidates: torch.Tensor, covered: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Worth (n,) and errors (n, bodies * seconds) of candidates, numbered as in (K, P)."""
        body, second = (part.flatten(1)[:, candidates].T for part in (self.body, self.second))
        errors = self.inner * self.mixed.flatten()[candidates][:, None, None]
        errors = errors + body[:, :, None] + second[:, None]
        errors.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        errors = errors.flatten(1)
        return _worth(-errors.amin(1), covered.flatten()[candidates]), errors


def _fit_around(off: torch.Tensor, seen: torch.Tensor, near: slice, middle: tuple[int, int], background: str) -> _Fit:
    """Fit the fine templates in `near` at places up to _SHIFT cells from `middle`; P = (2 * _SHIFT + 1) ** 2.

    off (3, h, w): the image less the background, 0 where it is not seen. seen (h, w): 1 or 0.
    """
    colours, known = _figure_colours(background), templates(True)
    parts, squares = known.parts[near].flatten(0, 1), known.squares[near].flatten(0, 1)
    dots = _correlate(_window(off, middle), parts).flatten(2)  # (3, 2 K, P)
    with_colour = (-2 * colours @ dots.flatten(1)).unflatten(1, (-1, 2, dots.shape[2]))  # (colours, K, 2, P)
    sums = _correlate(_window(seen[None], middle), squares)[0].flatten(1).unflatten(0, (-1, 3))  # (K, 3, P)
    inner = colours @ colours.T
    norms = inner.diagonal()[:, None, None]
    body, second = (torch.addcmul(with_colour[:, :, n], norms, sums[:, n]) for n in (0, 1))
    return _Fit(body, second, 2 * sums[:, 2], inner)


def _window(images: torch.Tensor, middle: tuple[int, int]) -> torch.Tensor:
    """(n, h, w) -> (n, 2 R, 2 R) around `middle`, R = W / 2 + S; zeros beyond the edge."""
    reach = _WINDOW // 2 + _SHIFT
    rows, columns = (slice(place, place + 2 * reach) for place in middle)
    return F.pad(images, [reach] * 4)[:, rows, columns]


def _correlate(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """(n, h, w) with (K, W, W) -> (n, K, h - W + 1, w - W + 1). A matrix product: F.conv2d takes ten times as long."""
    side = masks.shape[-1]
    places = images.shape[-2] - side + 1, images.shape[-1] - side + 1
    windows = F.unfold(images[:, None], side).transpose(0, 1).flatten(1)  # (W * W, n * places)
    return (masks.flatten(1) @ windows).unflatten(1, (len(images), *places)).transpose(0, 1)


@cache
def _colour(name: str) -> torch.Tensor:
    return torch.from_numpy(rgb(name))


def _figure_colours(background: str) -> torch.Tensor:
    """(colours, 3), less the background."""
    return torch.stack([_colour(name) for name in ALL_COLOURS]) - _colour(background)


def _cells_of(box: Box, cells: torch.Tensor, margin: int = 0) -> tuple[slice, slice]:
    """The rows and columns of cells that a box covers by half at least, and a margin around them."""
    height, width = cells.shape[-2:]

    def span(low: float, high: float, side: int) -> slice:
        first, last = math.floor(low * side + 0.5), math.ceil(high * side - 0.5)
        return slice(max(0, first - margin), min(side, max(last, first + 1) + margin))

    return span(box.y0, box.y1, height), span(box.x0, box.x1, width)


def _box_of(inside: torch.Tensor) -> Box:
    """The smallest box around the cells that are True."""
    height, width = inside.shape
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    return Box(left / width, top / height, right / width, bottom / height)


def _regions(inside: torch.Tensor) -> list[torch.Tensor]:
    """The connected regions of a mask (h, w) that have enough cells."""
    height, width = inside.shape
    labels = torch.arange(1, height * width + 1, dtype=torch.float32).view(height, width) * inside
    while True:  # spread the largest label of each region through it
        grown = F.max_pool2d(labels[None], 3, 1, 1)[0] * inside
        if torch.equal(grown, labels):
            break
        labels = grown
    regions = [labels == label for label in labels.unique() if label]
    return [region for region in regions if region.sum() >= _MIN_CELLS]
