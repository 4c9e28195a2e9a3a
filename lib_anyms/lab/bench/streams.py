"""Random image streams of any size, without files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import ImageStream, UNetCall
from lib_anyms.engine.key_values import KeyValues, spans_of
from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.engine.local_text import LocalText, Texts
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject

SCALE = 0.6
TEXT_TOKENS = 77


def layout_of(count: int, coverage: float = 0.6, overlap: float = 0.0) -> Layout:
    """A layout of `boxes_of`, for at most as many subjects as a layout may have."""
    return Layout(tuple(Subject(f"s{number}", box) for number, box in enumerate(boxes_of(count, coverage, overlap))))


def boxes_of(count: int, coverage: float = 0.6, overlap: float = 0.0) -> list[Box]:
    """`count` boxes in a grid that cover this share of the image; `overlap` widens each."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    side = math.sqrt(coverage * columns * rows / count)  # of a cell, where the last row is not full
    margin = max(0.0, (1 - min(1.0, side)) / 2)
    boxes = []
    for number in range(count):
        column, row = number % columns, number // columns
        left, right = (column + margin - overlap / 2) / columns, (column + 1 - margin + overlap / 2) / columns
        boxes.append(Box(left, (row + margin) / rows, right, (row + 1 - margin) / rows))
    return boxes


def sets_for(layers: Sequence[Layer], subjects: int, tokens: int, like: torch.Tensor) -> KeyValues:
    """Random keys and values of `subjects` and of uncond, on the device and in the dtype of `like`."""
    make = torch.Generator().manual_seed(0)
    count = (subjects + 1) * tokens
    sets = {layer.number: tuple(torch.randn(2, count, layer.width, generator=make).to(like)) for layer in layers}
    *spans, uncond = spans_of([tokens] * (subjects + 1))
    return KeyValues({number: (key, value) for number, (key, value) in sets.items()}, spans, uncond)


def prompts_for(layout: Layout, width: int, like: torch.Tensor) -> LocalText:
    """A random prompt of 77 text tokens for each subject and for elsewhere."""
    make = torch.Generator().manual_seed(1)
    contexts = torch.randn(len(layout.subjects) + 1, TEXT_TOKENS, width, generator=make).to(like)
    texts = Texts(tuple(contexts[:-1]), contexts[-1])
    nothing = Texts((None,) * len(layout.subjects))
    return LocalText(layout, lambda: (texts, nothing))


def stream_for(
    unet: nn.Module,
    layout: Layout,
    tokens: int,
    like: torch.Tensor,
    mode: str = "crop-merge",
    prompts: LocalText | None = None,
) -> ImageStream:
    """An image stream on `unet`, for calls with as many unconditional batch entries as conditional ones."""
    layers = cross_attention_layers(unet)

    def read(args: tuple[object, ...], _kwargs: dict[str, object]) -> UNetCall:
        assert isinstance(args[0], torch.Tensor)
        return UNetCall(CondMap.of_chunks((False, True), len(args[0]) // 2), 0.0)

    sets = sets_for(layers, len(layout.subjects), tokens, like)
    return ImageStream(unet, layers, sets, layout, SCALE, mode, read, local_text=prompts)
