"""Random image streams for the laws. Need neither files nor an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lib_anyms.engine.attention import KeyValue
from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import ImageStream, UNetCall
from lib_anyms.engine.key_values import KeyValues, spans_of
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.engine.local_text import LocalText
from lib_anyms.layout.fade import CONSTANT, Fade
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject

UNCOND_SEED = 99


def layout_of(*boxes: tuple[float, float, float, float], **fields) -> Layout:
    return Layout(tuple(Subject(f"s{number}", Box(*box), **fields) for number, box in enumerate(boxes)))


def random_pair(seed: int, tokens: int, width: int, dtype: torch.dtype) -> KeyValue:
    make = torch.Generator().manual_seed(seed)
    key, value = torch.randn(2, tokens, width, generator=make, dtype=torch.float64).to(dtype)
    return key, 3 * value


def key_values(
    unet, seeds: list[int], dtype: torch.dtype = torch.float32, tokens: int = 4, uncond: bool = True
) -> KeyValues:
    """A subject's keys and values depend on its seed alone: subjects in another order keep theirs."""
    layers = cross_attention_layers(unet)

    def at(layer, seed: int) -> KeyValue:
        return random_pair(1000 * seed + layer.number, tokens, layer.width, dtype)

    all_seeds = [*seeds, *([UNCOND_SEED] if uncond else [])]
    by_layer = {}
    for layer in layers:
        keys, values = zip(*(at(layer, seed) for seed in all_seeds))
        by_layer[layer.number] = (torch.cat(keys), torch.cat(values))
    spans = spans_of([tokens] * len(all_seeds))
    return KeyValues(by_layer, spans[: len(seeds)], spans[-1] if uncond else None)


class NextCall:
    """The host's side: which batch entries of the next UNet call are conditional, and the progress of the steps."""

    def __init__(self, *is_cond: bool, progress: float = 0.0) -> None:
        self.call: UNetCall | None = UNetCall(CondMap(is_cond), progress)

    def __call__(self, args, kwargs) -> UNetCall | None:
        return self.call


def stream_on(
    unet,
    layout: Layout,
    call: NextCall,
    seeds: list[int] | None = None,
    scale: float = 1.0,
    mode: str = "crop-merge",
    sets: KeyValues | None = None,
    local_text: LocalText | None = None,
    fade: Fade = CONSTANT,
) -> ImageStream:
    dtype = next(unet.parameters()).dtype
    sets = sets or key_values(unet, seeds or list(range(len(layout.subjects))), dtype)
    layers = cross_attention_layers(unet)
    return ImageStream(unet, layers, sets, layout, scale, mode, call, local_text=local_text, fade=fade)


@contextmanager
def injected(stream: ImageStream) -> Iterator[ImageStream]:
    stream.inject()
    try:
        yield stream
    finally:
        stream.eject()


def hook_count(unet) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, kind, ())) for module in unet.modules() for kind in kinds)


def layer_changes(unet, run, *streams: ImageStream | None) -> list[dict[str, torch.Tensor]]:
    """The input of each attn2.to_out[0] during `run()`, Z_text + s * Z_image, by layer name; one dict per stream.

    None in place of a stream: without one.
    """
    results = []
    for stream in streams:
        if stream is not None:
            stream.inject()
        record: dict[str, torch.Tensor] = {}
        handles = []
        for layer in cross_attention_layers(unet):  # after inject(): the hooks run in the order of their registration

            def remember(_module, args, name=layer.name, record=record) -> None:
                record[name] = args[0].clone()

            handles.append(layer.to_out.register_forward_pre_hook(remember))
        try:
            run()
        finally:
            for handle in handles:
                handle.remove()
            if stream is not None:
                stream.eject()
        results.append(record)
    return results
