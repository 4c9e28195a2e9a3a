"""One picture on diffusers with the image stream of a Request."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_anyms import __version__
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.hosts.diffusers import Diffusers
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session, close_session, open_session
from lib_anyms.standalone.pipeline import load_pipeline


@dataclass(frozen=True)
class Models:
    """The files of a generation; no encoder where every subject has a card."""

    checkpoint: Path
    adapter: Path
    encoder: Path | None


@dataclass(frozen=True)
class Generated:
    """A picture, and what ran to make it."""

    picture: Image.Image
    layers: int
    calls: int  # of the UNet with the image stream, 0 when it is off
    device: str


def random_models(folder: Path) -> Models:
    """The tiny SDXL with random weights, written once into `folder`."""
    from lib_anyms.standalone.random_sdxl import write_random_sdxl

    done = folder / f"version-{__version__}"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_random_sdxl(folder)
        done.touch()
    return Models(
        folder / "checkpoint.safetensors", folder / "adapter-plus.safetensors", folder / "encoder.safetensors"
    )


def generate(
    models: Models,
    request: Request,
    prompt: str,
    negative: str,
    seed: int,
    steps: int,
    size: tuple[int, int],
    guidance: float,
    device: str = "auto",
    dtype: str = "auto",
) -> Generated:
    """Load, sample, decode; `size` is (width, height) in pixels. Raises Refused and SteppedAside."""
    place = pick_device(device)
    pipeline = load_pipeline(models.checkpoint, place, pick_dtype(dtype, place))
    pipeline.set_progress_bar_config(leave=False)
    return sample(pipeline, models, request, prompt, negative, seed, steps, size, guidance)


def sample(
    pipeline: Any,
    models: Models,
    request: Request,
    prompt: str,
    negative: str,
    seed: int,
    steps: int,
    size: tuple[int, int],
    guidance: float,
) -> Generated:
    """`generate` with a loaded pipeline. The noise is drawn on the CPU: a seed gives one picture on every device."""
    files = [file for file in (models.adapter, models.encoder) if file is not None]
    session = open_session(Session(Diffusers(pipeline, files), pipeline))

    def announce(_pipeline: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        if step + 1 < steps:
            session.begin_step((step + 1) / steps)
        return values

    try:
        session.begin_pass(request)
        session.begin_step(0.0)
        picture = pipeline(
            prompt=prompt,
            negative_prompt=negative or None,  # zeros then, as the WebUIs have it; "" would be encoded
            width=size[0],
            height=size[1],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=announce,
        ).images[0]
        session.finish_pass()
        calls = session.stream.calls if session.stream else 0
    finally:
        close_session()
    return Generated(picture, len(cross_attention_layers(pipeline.unet)), calls, str(pipeline.device))


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is the best there is."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; "auto" is half precision where the device is fast at it."""
    if name == "auto":
        name = "float32" if device.type == "cpu" else "float16"
    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}[
        name
    ]
