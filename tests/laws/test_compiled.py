"""A UNet that torch really compiles: the image stream is in it or it is named, never silently lost and never left
behind.
"""

from __future__ import annotations

import pytest
import torch

from lib_anyms.engine.image_stream import compiled
from tests.laws.test_image_stream import COND, LAYOUT, UNCOND, run
from tests.support.streams import Rows, hook_count, injected, stream_on
from tests.support.tiny_unet import tiny_unet


@pytest.fixture(autouse=True)
def forgotten():
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_block_compiled_while_the_stream_is_on_has_it_and_loses_it(backend: str) -> None:
    unet = tiny_unet()
    before = run(unet)
    with injected(stream_on(unet, LAYOUT, Rows(UNCOND, COND))) as stream:
        wanted = run(unet)
        unet.middle_block[1].transformer_blocks[0].compile(backend=backend)
        for _ in range(2):
            assert (run(unet) - wanted).abs().max() < 1e-5
        assert stream.calls == 3
    assert (wanted - before).abs().max() > 1e-3
    assert hook_count(unet) == 0
    assert (run(unet) - before).abs().max() < 1e-5


def test_a_block_compiled_and_run_before_is_named() -> None:
    """Torch may run such a graph on without looking for new hooks, so nothing is attached to it."""
    unet = tiny_unet()
    before = run(unet)
    unet.middle_block[1].transformer_blocks[0].compile(backend="aot_eager")
    assert (run(unet) - before).abs().max() < 1e-5
    assert compiled(unet) == "torch.compile"
