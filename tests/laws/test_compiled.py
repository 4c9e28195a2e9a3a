"""A UNet that torch really compiles: the image stream acts in it, or AnyMS names it. Nothing is lost or left over."""

from __future__ import annotations

import pytest
import torch

from lib_anyms.engine.image_stream import compiled
from tests.laws.test_image_stream import COND, LAYOUT, UNCOND, run
from tests.support.streams import NextCall, hook_count, injected, stream_on
from tests.support.tiny_unet import tiny_unet


@pytest.fixture(autouse=True)
def forgotten():
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_block_compiled_under_the_stream_has_it_and_loses_it(backend: str) -> None:
    unet = tiny_unet()
    before = run(unet)
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))) as stream:
        expected = run(unet)
        unet.middle_block[1].transformer_blocks[0].compile(backend=backend)
        for _ in range(2):
            assert (run(unet) - expected).abs().max() < 1e-5
        assert stream.result.calls == 3
    assert (expected - before).abs().max() > 1e-3
    assert hook_count(unet) == 0
    assert (run(unet) - before).abs().max() < 1e-5


def test_a_block_compiled_and_run_before_is_named() -> None:
    """Torch may reuse such a graph without looking for new hooks, so we attach nothing."""
    unet = tiny_unet()
    before = run(unet)
    unet.middle_block[1].transformer_blocks[0].compile(backend="aot_eager")
    assert (run(unet) - before).abs().max() < 1e-5
    assert compiled(unet) == "torch.compile"
