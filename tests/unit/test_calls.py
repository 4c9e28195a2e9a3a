"""UNet calls read from their own tensors: the kind of each entry by its text, its part of the image by its latents."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.hosts.a1111 import A1111
from lib_anyms.hosts.calls import by_text, kinds_of, windows_of
from lib_anyms.hosts.forge import Forge
from lib_anyms.layout.geometry import WHOLE, Box, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout, Subject

C, U = True, False
ONLY_C, ONLY_U, BOTH, UNKNOWN = frozenset((C,)), frozenset((U,)), frozenset((C, U)), frozenset()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CAT, DOG, BLUR, OTHER = (random(1, 77, 16, seed=seed) for seed in range(4))
LONG_CAT = torch.cat((CAT, random(1, 77, 16, seed=9)), 1)


# -- texts -------------------------------------------------------------------------------------------------------------


def kinds(*entries: torch.Tensor, positive: Any = CAT, negative: Any = BLUR) -> list[frozenset[bool]]:
    context = torch.cat(entries)
    return kinds_of(context, len(context), positive, negative)


def test_an_entry_is_known_by_its_text() -> None:
    assert kinds(BLUR, CAT, OTHER, CAT) == [ONLY_U, ONLY_C, UNKNOWN, ONLY_C]
    assert kinds(CAT, negative=CAT) == [BOTH]
    assert kinds(DOG, CAT, positive=torch.cat((CAT, DOG))) == [ONLY_C, ONLY_C]
    assert kinds(CAT, positive={"crossattn": CAT, "vector": None}, negative={"crossattn": BLUR}) == [ONLY_C]


def test_a_text_that_the_host_rounded_is_still_known() -> None:
    half = torch.cat((CAT, BLUR)).half()
    assert kinds_of(half, 2, CAT, BLUR) == [ONLY_C, ONLY_U]


def test_a_padded_or_repeated_text_is_known_and_the_longer_match_counts() -> None:
    padded = torch.cat((BLUR, random(1, 77, 16, seed=5)), 1)
    assert kinds(padded, positive=LONG_CAT) == [ONLY_U]
    assert kinds(torch.cat((BLUR, BLUR), 1), positive=LONG_CAT) == [ONLY_U]
    assert kinds(LONG_CAT, positive=LONG_CAT, negative=CAT) == [ONLY_C]  # it begins with the negative text
    assert kinds(CAT, positive=CAT, negative=LONG_CAT) == [BOTH]


@pytest.mark.parametrize("negative", [None, BLUR])
def test_without_texts_nothing_is_known(negative: torch.Tensor | None) -> None:
    assert kinds_of(None, 2, CAT, negative) == [UNKNOWN] * 2
    assert kinds(CAT, BLUR, positive=None, negative=None) == [UNKNOWN] * 2
    assert kinds(CAT, negative=negative) == [ONLY_C]
    assert kinds(random(1, 77, 8), negative=negative) == [UNKNOWN]


def test_a_map_by_text_leaves_unknown_entries_out() -> None:
    assert by_text([ONLY_U, BOTH], ()) == CondMap((U, C))
    left = by_text([ONLY_C, UNKNOWN], ())
    assert (left.windows, left.left_out) == ((WHOLE, None), "text_unknown")
    assert [part for part, _, _ in left.parts] == [slice(0, 1)]
    half = Viewport(0, 0, 0.5, 1)
    assert by_text([ONLY_C, ONLY_C], (half, None)).left_out == "window_unknown"
    assert by_text([UNKNOWN], (half,)).acts is False


# -- windows -----------------------------------------------------------------------------------------------------------

IMAGES = random(2, 4, 16, 24, seed=7)
PLACES = [(0, 0, 24, 8), (8, 4, 20, 16), (12, 0, 24, 16), (20, 13, 24, 16), (3, 2, 20, 13)]


def scaled(latents: torch.Tensor) -> torch.Tensor:
    """As the UNet receives them."""
    return latents / (14.6**2 + 1) ** 0.5


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_window_is_known_by_its_latents(place: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    left, top, right, bottom = place
    window = scaled(IMAGES[1:, :, top:bottom, left:right]).to(dtype)
    expected = Viewport(left / 24, top / 16, right / 24, bottom / 16)
    assert windows_of(window, IMAGES) == (expected,)


def test_each_entry_has_its_own_window_and_inpainting_its_further_channels() -> None:
    tiles = [IMAGES[..., left : left + 12] for left in (0, 6, 12)]
    batch = scaled(torch.cat(tiles))
    halves = [Viewport(left / 24, 0, (left + 12) / 24, 1) for left in (0, 0, 6, 6, 12, 12)]
    assert windows_of(batch, IMAGES) == tuple(halves)
    assert windows_of(torch.cat((batch, random(6, 5, 16, 12)), 1), IMAGES) == tuple(halves)


def test_a_call_of_the_image_s_size_is_the_whole_image() -> None:
    assert windows_of(random(1, 4, 16, 24), IMAGES) == ()
    assert windows_of(random(1, 4, 8, 8), None) == ()


UNPLACED = {
    "other contents": random(1, 4, 8, 8, seed=3),
    "half of it": IMAGES[:1, ..., :12] + random(1, 4, 16, 12, seed=4),
    "every second cell": IMAGES[:1, :, :, ::2],
    "shrunken": torch.nn.functional.avg_pool2d(IMAGES[:1], 2),
    "larger": torch.nn.functional.pad(IMAGES[:1], (4, 4, 0, 0)),
    "round the edge": IMAGES[:1].roll(6, -1)[..., :12],
    "negated": -IMAGES[:1, ..., :12],
    "flat": torch.zeros(1, 4, 8, 8),
    "not finite": torch.full((1, 4, 8, 8), float("nan")),
    "fewer channels": IMAGES[:1, :3, :8, :8],
}


@pytest.mark.parametrize("case", UNPLACED)
def test_a_part_that_is_no_window_has_no_place(case: str) -> None:
    assert windows_of(UNPLACED[case], IMAGES) == (None,)


def test_a_window_of_a_flat_image_has_no_place() -> None:
    flat = torch.ones(1, 4, 16, 24)
    assert windows_of(flat[..., :8], flat) == (None,)
    repeated = IMAGES[:1, :, :, :8].repeat(1, 1, 1, 3)
    assert windows_of(repeated[..., :8], repeated) == (None,)


def test_a_window_places_boxes_as_the_whole_image_does() -> None:
    layout = Layout((Subject("a", Box(0, 0, 0.5, 1)), Subject("b", Box(0.25, 0.5, 0.75, 1))))
    whole = torch.tensor(layout.owner_map(TokenGrid(16, 24))).view(16, 24)
    window = Viewport(6 / 24, 4 / 16, 18 / 24, 1)
    assert torch.equal(torch.tensor(layout.owner_map(TokenGrid(12, 12), window)).view(12, 12), whole[4:, 6:18])
    assert layout.box_tokens(TokenGrid(4, 4), Viewport(0.75, 0, 1, 1)) == [[], []]


# -- the hosts ---------------------------------------------------------------------------------------------------------


def step(positive: torch.Tensor = CAT, negative: torch.Tensor = BLUR, images: torch.Tensor = IMAGES[:1]) -> Any:
    denoiser = SimpleNamespace(step=0, total_steps=4)
    return SimpleNamespace(
        x=images, text_cond=positive, text_uncond=negative, denoiser=denoiser, total_sampling_steps=4
    )


def a1111(**changes: Any) -> A1111:
    host = A1111(SimpleNamespace())
    host.begin_step(step(images=IMAGES[:1].repeat(2, 1, 1, 1), **changes))
    return host


def call(host: Any, *texts: torch.Tensor, flags: list[int] | None = None, latents: Any = None) -> CondMap:
    x = IMAGES[:1].repeat(len(texts), 1, 1, 1) if latents is None else latents
    options = {} if flags is None else {"transformer_options": {"cond_or_uncond": flags}}
    return host.cond_map((x, torch.ones(len(x))), {"context": torch.cat(texts), **options})


def test_a1111_s_own_calls_follow_the_announced_order() -> None:
    """Even where another extension has changed the texts."""
    assert call(a1111(), OTHER, OTHER) == CondMap((C, U))
    host = a1111()
    assert [call(host, OTHER), call(host, OTHER)] == [CondMap((C,)), CondMap((U,))]
    host = a1111(negative=CAT)
    assert [call(host, CAT), call(host, CAT), call(host, CAT)] == [CondMap((C,)), CondMap((U,)), CondMap((C,))]


def test_a1111_s_further_calls_follow_their_texts() -> None:
    host = a1111()
    call(host, CAT, BLUR)
    assert call(host, CAT, CAT) == CondMap((C, C))
    assert call(host, BLUR, CAT, CAT) == CondMap((U, C, C))
    assert call(host, OTHER).left_out == "text_unknown"


def test_a_call_before_a1111_s_own_does_not_take_their_place() -> None:
    host = a1111()
    assert call(host, BLUR) == CondMap((U,))
    assert call(host, CAT, BLUR) == CondMap((C, U))


def test_texts_that_a_later_callback_of_the_step_exchanges_count() -> None:
    host = a1111()
    host.step.text_cond = OTHER
    call(host, OTHER, BLUR)
    assert call(host, OTHER) == CondMap((C,))


def test_forge_s_flags_count_until_its_conditional_chunks_are_predicted() -> None:
    host = Forge(SimpleNamespace())
    host.begin_step(step(positive=torch.cat((CAT, DOG))))
    assert call(host, OTHER, flags=[1]) == CondMap((U,))
    assert [call(host, OTHER, flags=[0]) for _ in range(2)] == [CondMap((C,))] * 2
    assert call(host, BLUR, flags=[0]) == CondMap((U,))
    assert call(host, DOG, flags=[0]) == CondMap((C,))
    assert call(host, OTHER, flags=[0]).left_out == "text_unknown"
    assert call(host, OTHER, CAT, flags=[1, 0]) == CondMap((U, C))


def test_forge_s_flags_do_not_count_in_a_batch_of_tiles() -> None:
    host = Forge(SimpleNamespace())
    host.begin_step(step())
    tiles = torch.cat([IMAGES[:1, :, :, left : left + 12] for left in (0, 0, 12, 12)])
    conds = call(host, BLUR, CAT, BLUR, CAT, flags=[1, 0], latents=tiles)
    assert conds.is_cond == (U, C, U, C)
    assert [window.x0 for window in conds.windows] == [0, 0, 0.5, 0.5]
    assert call(host, OTHER, flags=[0], latents=tiles[:1]).is_cond == (C,)
    assert call(host, OTHER, BLUR, flags=[0, 1], latents=tiles[:2]).windows[0] is None
