"""Repeat a host's whole job on diffusers: same words, noise and sigmas, so picture and UNet calls must agree.

Hosts have diffusers' schedule (leading, offset by one step) with the scheduler "DDIM" if the steps divide 1000, and
its first noise with the setting "SGM noise multiplier". Hosts cut pixels off to 8 bits and diffusers rounds, so they
differ by one of 255.
"""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from lib_anyms.job.request import Request
from lib_anyms.standalone.generate import Models, sample
from lib_anyms.standalone.pipeline import load_pipeline
from lib_anyms.standalone.random_sdxl import RandomFiles
from lib_anyms.standalone.sampling import Sampling
from tests.hosts.studio import SCENE, Call, Studio, encoded

SCHEDULE = {"sampler_name": "Euler", "scheduler": "DDIM"}
OPTIONS = {"sgm_noise_multiplier": True}
PICTURE = {"width": 256, "height": 256, "steps": 8, "cfg_scale": 4.0, **SCHEDULE}


@dataclass(frozen=True)
class Made:
    """A picture as base64, and the UNet's input and output of every step: entry 0 unconditional, 1 conditional."""

    image: str
    steps: list[dict[str, torch.Tensor]]

    @property
    def pixels(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(b64decode(self.image))).convert("RGB"), dtype=np.int16)


@dataclass(frozen=True)
class Gap:
    """How far a host is from diffusers.

    Latents and outputs: the largest difference over all steps, divided by diffusers' largest value there. Pixels: the
    largest and the mean difference, 0 to 255.
    """

    shares: dict[str, float]
    pixels: int
    mean: float

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {share:.1e}" for name, share in self.shares.items())
        return f"{shares}; pixels at most {self.pixels}/255, {self.mean:.2f} in the mean"


@dataclass
class Peer:
    """diffusers with a host's files."""

    files: RandomFiles
    pipeline: Any = field(init=False)

    def __post_init__(self) -> None:
        self.pipeline = load_pipeline(self.files.checkpoint, "cpu", torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)

    def make(self, request: Any = None, **changes: Any) -> Made:
        """The same arguments as `on_host`."""
        scene = {**SCENE, **PICTURE, **changes}
        parsed = Request.from_json(request or {"enabled": False})
        adapters = {path.name: path for path in self.files.adapters.values()}
        models = Models(
            self.files.checkpoint, adapters.get(parsed.adapter, self.files.adapters["base"]), self.files.encoder
        )
        with self._watched() as steps:
            result = sample(
                self.pipeline,
                models,
                parsed,
                scene["prompt"],
                Sampling(
                    scene["seed"],
                    scene["steps"],
                    scene["cfg_scale"],
                    (scene["width"], scene["height"]),
                    scene["negative_prompt"],
                ),
            )
        return Made(encoded(result.picture), steps)

    @contextmanager
    def reading_as(self, prediction: str) -> Iterator[None]:
        """Change how the scheduler reads the UNet's output."""
        scheduler = self.pipeline.scheduler
        declared = scheduler.config.prediction_type
        scheduler.register_to_config(prediction_type=prediction)
        try:
            yield
        finally:
            scheduler.register_to_config(prediction_type=declared)

    @contextmanager
    def _watched(self) -> Iterator[list[dict[str, torch.Tensor]]]:
        steps: list[dict[str, torch.Tensor]] = []

        def see(_unet: Any, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            step = {"x": args[0], "context": named["encoder_hidden_states"], "output": output[0]}
            step["pooled"] = named["added_cond_kwargs"]["text_embeds"]
            step["timesteps"] = args[1].float().expand(len(args[0]))
            steps.append({name: tensor.detach().clone() for name, tensor in step.items()})

        hook = self.pipeline.unet.register_forward_hook(see, with_kwargs=True)
        try:
            yield steps
        finally:
            hook.remove()


def on_host(studio: Studio, request: Any = None, **changes: Any) -> Made:
    """`studio`'s picture of the request; see PICTURE for its size and steps."""
    job, calls = studio.watch(request, **{**PICTURE, **changes})
    return Made(job.images[0], [_step(call) for call in calls])


def gap(host: Made, peer: Made) -> Gap:
    assert len(host.steps) == len(peer.steps)
    worst: dict[str, float] = {}
    for ours, theirs in zip(host.steps, peer.steps):
        for name, expected in theirs.items():
            got = ours[name] if name != "pooled" else ours[name][:, : expected.shape[1]]
            share = ((got - expected).abs().max() / expected.abs().max()).item()
            worst[name] = max(worst.get(name, 0.0), share)
    off = np.abs(host.pixels - peer.pixels)
    return Gap(worst, int(off.max()), float(off.mean()))


def _step(call: Call) -> dict[str, torch.Tensor]:
    assert sorted(call.is_cond) == [False, True]
    order = [call.is_cond.index(flag) for flag in (False, True)]
    named = {"x": "x", "context": "context", "output": "output", "pooled": "y", "timesteps": "timesteps"}
    return {name: call.tensors[stored][order] for name, stored in named.items()}
