"""Whole UNet calls with the image stream on and off, and with diffusers' own IP-Adapter and masks, side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from lib_anyms.engine.image_stream import ImageStream
from lib_anyms.lab.bench.streams import SCALE, layout_of, prompts_for, stream_for
from lib_anyms.lab.bench.timing import Result, clock_of, compare, interleaved
from lib_anyms.standalone.random_sdxl import PROJECTIONS, key_value_weights
from lib_anyms.standalone.single_file import unet_config
from lib_anyms.standalone.structure import SPRITES, Structure

PLAIN, WITH_PROMPTS = "plain", "AnyMS with prompts"
_MIB = 2**20
_RESAMPLER_LAYERS = 4  # diffusers reads no other


@dataclass(frozen=True)
class UNetCase:
    """A UNet with random weights, and inputs of one size: `side` in latent cells; half of `batch` unconditional."""

    name: str
    structure: Structure
    side: int
    batch: int
    like: torch.Tensor  # device and dtype

    def unet(self) -> UNet2DConditionModel:
        """Random weights, small enough for finite numbers in half precision."""
        with torch.device("meta"):
            unet = UNet2DConditionModel(**unet_config(self.structure))
        unet = unet.to(self.like.dtype).to_empty(device=self.like.device).eval().requires_grad_(False)
        make = torch.Generator(self.like.device).manual_seed(0)
        for name, weight in unet.named_parameters():
            if weight.dim() > 1:
                weight.uniform_(-1, 1, generator=make).mul_((weight[0].numel()) ** -0.5)
            else:
                weight.fill_(float(name.endswith("weight")))
        return unet

    def inputs(self, extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """The UNet's arguments; `extra`: further added conditions."""
        make = torch.Generator().manual_seed(1)

        def noise(*shape: int) -> torch.Tensor:
            return torch.randn(self.batch, *shape, generator=make).to(self.like)

        structure = self.structure
        pooled = structure.added_width - 6 * structure.size_embedding
        times = torch.full((self.batch, 6), 8.0 * self.side).to(self.like)
        return {
            "sample": noise(4, self.side, self.side),
            "timestep": torch.tensor(500, device=self.like.device),
            "encoder_hidden_states": noise(77, structure.context_width),
            "added_cond_kwargs": {"text_embeds": noise(pooled), "time_ids": times, **(extra or {})},
            "return_dict": False,
        }


def sprites_case(side: int = 32) -> UNetCase:
    """The small world's UNet, with the demo's sizes."""
    return UNetCase("sprites UNet", SPRITES, side, 2, torch.zeros(()))


@torch.inference_mode()
def unet_results(
    case: UNetCase,
    subjects: tuple[int, ...],
    tokens: dict[str, int],
    rounds: int,
    peers: bool = True,
    prompts: tuple[int, ...] = (7,),
) -> Iterator[Result]:
    """Ours, masked sum and diffusers' masks, for each number of subjects; 0 repeats the plain call: the noise.

    prompts: numbers of subjects that are also measured with a prompt each, against ours without.
    """
    unet, inputs = case.unet(), case.inputs()
    call = _caller(unet, inputs)
    for kind, count in tokens.items():
        variants: dict[str, Callable[[], object]] = {PLAIN: call, "AnyMS 0": call}
        streams: dict[str, ImageStream] = {}
        for number in (number for number in subjects if number):
            streams[f"AnyMS {number}"] = stream_for(sharing(unet), layout_of(number), count, case.like)
            if number in prompts:
                texts = prompts_for(layout_of(number), case.structure.context_width, case.like)
                streams[f"{WITH_PROMPTS} {number}"] = stream_for(
                    sharing(unet), layout_of(number), count, case.like, prompts=texts
                )
            if peers:
                masked = stream_for(sharing(unet), layout_of(number), count, case.like, "masked-sum")
                streams[f"masked sum {number}"] = masked
                if kind == "base" or case.structure.resampler_layers == _RESAMPLER_LAYERS:
                    variants[f"diffusers' masks {number}"] = _peer(case, unet, kind, number)
        for name, stream in streams.items():
            stream.inject()
            variants[name] = _caller(stream.unet, inputs)
        times = interleaved(variants, rounds, 1, case.like.device.type, clock=clock_of(case.like.device.type))
        for name in variants:
            if name != PLAIN:
                way, _, shown = name.rpartition(" ")
                mib = _beyond(variants[name], call, streams.get(name), case.like.device)
                against, title = PLAIN, f"{case.name}, {way}"
                if way == WITH_PROMPTS:
                    against, title = f"AnyMS {shown}", f"{case.name} with prompts, AnyMS"
                yield compare(title, int(shown), count, times, name, against, mib)


def _caller(unet: nn.Module, inputs: dict[str, Any]) -> Callable[[], object]:
    rest = dict(inputs)
    sample, timestep = rest.pop("sample"), rest.pop("timestep")
    return lambda: unet(sample, timestep, **rest)


def sharing(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy of the modules that shares the weights: each variant has its own hooks."""
    return copy.deepcopy(unet, {id(weight): weight for weight in unet.parameters()})


def _peer(case: UNetCase, unet: UNet2DConditionModel, kind: str, subjects: int) -> Callable[[], object]:
    """diffusers' IP-Adapter on a copy that shares the UNet's weights; each call projects images, keys and values."""
    copied = sharing(unet)
    projection, latents = PROJECTIONS[kind](case.structure)
    image_proj = {**latents, **dict(projection.named_parameters())}
    state = {
        "image_proj": {name: weight.detach() for name, weight in image_proj.items()},
        "ip_adapter": key_value_weights(case.structure),
    }
    copied._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
    copied.to(case.like.device, case.like.dtype)
    for processor in copied.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [SCALE]
    vision = case.structure.vision
    shape: tuple[int, ...] = (vision.projection,)
    if kind != "base":
        shape = ((vision.image_size // vision.patch_size) ** 2 + 1, vision.hidden)
    images = torch.randn(case.batch, subjects, *shape, generator=torch.Generator().manual_seed(2)).to(case.like)
    masks = torch.zeros(1, subjects, 8 * case.side, 8 * case.side).to(case.like)
    for mask, subject in zip(masks[0], layout_of(subjects).subjects):
        box = subject.box
        x0, y0, x1, y1 = (round(edge * 8 * case.side) for edge in (box.x0, box.y0, box.x1, box.y1))
        mask[y0:y1, x0:x1] = 1
    inputs = case.inputs({"image_embeds": [images]})
    return _caller(copied, {**inputs, "cross_attention_kwargs": {"ip_adapter_masks": [masks]}})


def _beyond(
    call: Callable[[], object], plain: Callable[[], object], stream: ImageStream | None, device: torch.device
) -> float:
    """MiB beyond the plain call: on a GPU the difference of peaks, elsewhere what the stream caches."""
    cached = stream.region_merge.bytes / _MIB if stream is not None else 0.0
    if device.type != "cuda":
        return cached

    def peak(function: Callable[[], object]) -> float:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / _MIB

    return cached + peak(call) - peak(plain)
