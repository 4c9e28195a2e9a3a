"""Batch entries that show parts of the image: each has the image stream of the layout as that part shows it."""

from __future__ import annotations

import pytest
import torch

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import ImageStream, UNetCall
from lib_anyms.engine.local_text import LocalText, Texts
from lib_anyms.layout.geometry import WHOLE, Viewport
from lib_anyms.layout.layout import Layout
from tests.laws.test_image_stream import COND, UNCOND
from tests.support.streams import NextCall, injected, key_values, layout_of, stream_on
from tests.support.tiny_unet import CONTEXT, inputs, tiny_unet

LAYOUT = layout_of((0.0, 0.0, 0.5, 1.0), (0.25, 0.5, 0.75, 1.0), (0.75, 0.0, 1.0, 0.5))
LEFT, RIGHT, MIDDLE = Viewport(0, 0, 0.5, 1), Viewport(0.5, 0, 1, 1), Viewport(0.25, 0.25, 0.75, 0.75)
ENTRIES = ((UNCOND, LEFT), (COND, LEFT), (COND, RIGHT), (COND, WHOLE), (UNCOND, None), (COND, MIDDLE))
FORMS = [("crop-merge", False), ("crop-merge", True), ("masked-sum", False)]  # the others know no boxes


@torch.no_grad()
def outputs(unet, stream: ImageStream | None) -> torch.Tensor:
    x = inputs(len(ENTRIES), 16, 16)
    if stream is None:
        return unet(*x)
    with injected(stream):
        return unet(*x)


def windowed() -> NextCall:
    rows = NextCall()
    flags, windows = zip(*ENTRIES)
    rows.call = UNetCall(CondMap(flags, windows=windows), 0.0)
    return rows


def words(layout: Layout, numbers: tuple[int, ...]) -> LocalText:
    """Subject 0 and elsewhere have their own text."""
    make = torch.Generator().manual_seed(3)
    own, elsewhere = torch.randn(2, 5, CONTEXT, generator=make)
    texts = Texts(tuple(own if number == 0 else None for number in numbers), elsewhere)
    return LocalText(layout, lambda: (texts, Texts((None,) * len(numbers))))


@pytest.mark.parametrize("local", [False, True], ids=["", "own texts"])
@pytest.mark.parametrize(("mode", "fused"), FORMS)
def test_an_entry_of_a_window_has_the_window_s_layout(mode: str, fused: bool, local: bool) -> None:
    """Like a separate stream whose layout holds only the subjects in that window."""
    unet = tiny_unet()
    ours = stream_on(unet, LAYOUT, windowed(), mode=mode, local_text=words(LAYOUT, (0, 1, 2)) if local else None)
    ours.region_merge.use_fused = fused
    together, plain = outputs(unet, ours), outputs(unet, None)
    assert ours.result.windowed == 1
    for number, (is_cond, window) in enumerate(ENTRIES):
        expected = plain[number]
        if window is not None:
            seen = LAYOUT.seen_in(window)
            layout, numbers = Layout(tuple(seen.values())), tuple(seen)
            alone = stream_on(
                unet,
                layout,
                NextCall(*[is_cond] * len(ENTRIES)),
                mode=mode,
                sets=key_values(unet, list(numbers)),
                local_text=words(layout, numbers) if local else None,
            )
            alone.region_merge.use_fused = fused
            expected = outputs(unet, alone)[number]
            assert not torch.equal(expected, plain[number])
        assert (together[number] - expected).abs().max() <= 1e-5 * plain.abs().max()


def test_a_call_without_any_stream_is_the_plain_unet_s_and_counted() -> None:
    unet = tiny_unet()
    rows = NextCall()
    conds = CondMap((COND,) * len(ENTRIES), windows=(None,) * len(ENTRIES), left_out="text_unknown")
    rows.call = UNetCall(conds, 0.0)
    stream = stream_on(unet, LAYOUT, rows)
    assert torch.equal(outputs(unet, stream), outputs(unet, None))
    assert (stream.result.calls, stream.result.acting, stream.result.left_out) == (1, 0, (("text_unknown", 1),))


def test_windows_of_many_places_do_not_fill_the_memory() -> None:
    unet = tiny_unet()
    rows = NextCall()
    stream = stream_on(unet, LAYOUT, rows)
    with injected(stream):
        for number in range(60):
            window = Viewport(number / 200, 0, number / 200 + 0.5, 1)
            rows.call = UNetCall(CondMap((COND,), windows=(window,)), 0.0)
            with torch.no_grad():
                unet(*inputs(1, 16, 16))
    assert len(stream.region_merge._plans) <= 128
