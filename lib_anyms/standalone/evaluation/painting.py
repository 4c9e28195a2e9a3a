"""Pictures of asked scenes on diffusers, through the way of `demo`; and the peer: diffusers' own IP-Adapter with masks."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lib_anyms.geometry import Box
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.ip_adapter.tensor_file import open_tensors
from lib_anyms.standalone.evaluation.cells import MODES, PEER
from lib_anyms.standalone.evaluation.files import Files
from lib_anyms.standalone.evaluation.scenes import Asked
from lib_anyms.standalone.generate import pick_device, pick_dtype, sample
from lib_anyms.standalone.pipeline import load_pipeline

DIFFUSERS = "diffusers"


@dataclass(frozen=True)
class Settings:
    """What all pictures of an evaluation share. `host`: "diffusers", or the address of a WebUI."""

    seed: int = 0
    steps: int = 20
    guidance: float = 7.0
    scale: float = 2.0
    device: str = "auto"
    dtype: str = "auto"
    host: str = DIFFUSERS


class Painter(Protocol):
    """Makes the picture of a scene in a mode."""

    def paint(self, asked: Asked, mode: str, adapter: str | None) -> Image.Image:
        """Raises Refused."""


class DiffusersPainter:
    """Keeps one pipeline, and one more for each adapter the peer was asked for."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self._files, self._settings = files, settings
        device = pick_device(settings.device)
        self._pipeline = load_pipeline(files.checkpoint, device, pick_dtype(settings.dtype, device))
        self._pipeline.set_progress_bar_config(disable=True)
        self._peers: dict[str, Peer] = {}
        self._side = files.side

    def paint(self, asked: Asked, mode: str, adapter: str | None) -> Image.Image:
        if mode == PEER:
            assert adapter is not None
            if adapter not in self._peers:
                self._peers[adapter] = Peer(self._pipeline, self._files, adapter)
            return self._peers[adapter].paint(asked, self._settings, self._side)
        settings = self._settings
        return sample(
            self._pipeline,
            self._files.models(adapter),
            asked.request(MODES[mode].stream, settings.scale),
            asked.prompt,
            "",
            asked.noise,
            settings.steps,
            (self._side, self._side),
            settings.guidance,
        ).picture


class Peer:
    """diffusers' own IP-Adapter on a copy of the UNet; the embeddings are of the same encoder as ours, equal to transformers'."""

    def __init__(self, pipeline: Any, files: Files, adapter: str) -> None:
        unet = copy.deepcopy(pipeline.unet)
        self._pipeline = StableDiffusionXLPipeline(**{**pipeline.components, "unet": unet})
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.load_ip_adapter(
            _weights(files, adapter), subfolder="", weight_name="", image_encoder_folder=None, low_cpu_mem_usage=False
        )
        self._pipeline.unet.to(pipeline.device, pipeline.unet.dtype)
        self._kind = adapter
        self._encoder = Encoder(read_encoder(files.encoder), torch.device("cpu"), torch.float32)

    def paint(self, asked: Asked, settings: Settings, side: int) -> Image.Image:
        """One picture. A single box of the whole picture needs no mask: that is IP-Adapter as everybody uses it."""
        pipeline, pictures = self._pipeline, [one for subject in asked.references() for one in subject]
        pipeline.set_ip_adapter_scale(settings.scale)
        shown = self._encoder.encode(pictures, self._kind, "pad")
        nothing = self._encoder.encode_nothing(self._kind).expand(shown.shape)
        embeddings = torch.stack((nothing, shown)).to(pipeline.device, pipeline.unet.dtype)
        masks = None if asked.anywhere else {"ip_adapter_masks": [box_masks(asked.boxes, side).to(embeddings)]}
        return pipeline(
            prompt=asked.prompt,
            negative_prompt=None,  # zeros, as in `generate.sample`
            ip_adapter_image_embeds=[embeddings],
            cross_attention_kwargs=masks,
            width=side,
            height=side,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=torch.Generator("cpu").manual_seed(asked.noise),
        ).images[0]


def box_masks(boxes: tuple[Box, ...], side: int) -> torch.Tensor:
    """(1, boxes, side, side): 1 inside."""
    masks = torch.zeros(1, len(boxes), side, side)
    for mask, box in zip(masks[0], boxes):
        mask[round(box.y0 * side) : round(box.y1 * side), round(box.x0 * side) : round(box.x1 * side)] = 1
    return masks


def _weights(files: Files, adapter: str) -> dict[str, dict[str, torch.Tensor]]:
    """An adapter's file as diffusers takes it."""
    groups: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    with open_tensors(files.adapters[adapter]) as file:
        for name in file.shapes:
            group, _, rest = name.partition(".")
            groups[group][rest] = file.load(name).float()
    return groups
