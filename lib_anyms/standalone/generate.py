"""One image on diffusers, with the subjects of a Request in their boxes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_anyms import __version__
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.hosts.diffusers import Diffusers
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.job.live_sessions import close_session, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.standalone.pipeline import load_pipeline
from lib_anyms.standalone.refining import inpaint, inpainting_pipeline, inpaintings, noise, request_in
from lib_anyms.standalone.sampling import Sampling

# diffusers' callback_on_step_end: (pipeline, step, timestep, tensors) -> tensors
StepCallback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Models:
    """The model files of an image; `encoder` may be None where every subject has a card."""

    checkpoint: Path
    adapter: Path
    encoder: Path | None


@dataclass(frozen=True)
class Generated:
    """An image, and what ran to make it: cross-attention layers, UNet calls with the image stream, device."""

    picture: Image.Image
    layers: int
    calls: int  # 0 where the image stream is off
    device: str


def random_models(folder: Path) -> Models:
    """The tiny SDXL with random weights, written to `folder` by the first call."""
    from lib_anyms.standalone.random_sdxl import write_random_sdxl

    stamp = folder / f"version-{__version__}"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_random_sdxl(folder)
        stamp.touch()
    return Models(
        folder / "checkpoint.safetensors", folder / "adapter-plus.safetensors", folder / "encoder.safetensors"
    )


def generate(models: Models, request: Request, prompt: str, sampling: Sampling) -> Generated:
    """Load a pipeline and sample one image. Raises Refused and SteppedAside."""
    check_files(models.adapter, models.encoder)
    device = pick_device(sampling.device)
    pipeline = load_pipeline(models.checkpoint, device, pick_dtype(sampling.dtype, device))
    pipeline.set_progress_bar_config(leave=False)
    return sample(pipeline, models, request, prompt, sampling)


def sample(pipeline: Any, models: Models, request: Request, prompt: str, sampling: Sampling) -> Generated:
    """Sample one image by a loaded pipeline; its device and dtype count. Raises Refused and SteppedAside.

    The noise is drawn on the CPU, so that a seed gives the same image on every device.
    """
    with _subject_session(pipeline, request, models.adapter, models.encoder, prompt) as (session, on_step_end):
        picture = pipeline(
            prompt=prompt,
            negative_prompt=sampling.negative or None,  # None gives zeros, as in the WebUIs; "" would be encoded
            width=sampling.size[0],
            height=sampling.size[1],
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            generator=torch.Generator("cpu").manual_seed(sampling.seed),
            callback_on_step_end=on_step_end,
        ).images[0]
        calls = session.stream.result.calls if session.stream else 0
    if request.active and request.refine:
        picture = refine(pipeline, models, request, prompt, sampling, picture)
    return Generated(picture, len(cross_attention_layers(pipeline.unet)), calls, str(pipeline.device))


def refine(
    pipeline: Any, models: Models, request: Request, prompt: str, sampling: Sampling, picture: Image.Image
) -> Image.Image:
    """`picture` with each subject inpainted at the strength `request.refine`. Raises Refused and SteppedAside."""
    inpaints = inpainting_pipeline(pipeline)
    words = {"prompt": prompt, "negative_prompt": sampling.negative if sampling.negative else None}
    for number, mask, region, size in inpaintings(request, picture):
        alone = request_in(request, number, mask, region)
        with _subject_session(inpaints, alone, models.adapter, models.encoder, prompt) as (_, on_step_end):
            picture = inpaint(
                inpaints,
                picture,
                mask,
                region,
                size,
                **words,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                strength=request.refine,
                generator=noise(sampling.seed, number),
                callback_on_step_end=on_step_end,
            )
    return picture


def check_files(adapter: Path | str, encoder: Path | str | None) -> None:
    """Refuse a file named by hand by what it is: the search of a job would only say that none was found."""
    if not Path(adapter).is_dir():
        read_adapter(Path(adapter))
    if encoder is not None and not Path(encoder).is_dir():
        read_encoder(Path(encoder))


@contextmanager
def inject_subjects(
    pipeline: Any, request: Request, adapter: Path | str, encoder: Path | str | None = None
) -> Iterator[StepCallback]:
    """Inject the subjects of `request` into the UNet of a StableDiffusionXLPipeline for one call, then eject them.

    Yields the function to pass as `callback_on_step_end`. `adapter` is an IP-Adapter for SDXL and `encoder` its image
    encoder, which may be None where every subject has a card. Raises Refused and SteppedAside.
    """
    with _subject_session(pipeline, request, adapter, encoder) as (_, on_step_end):
        yield on_step_end


@contextmanager
def _subject_session(
    pipeline: Any, request: Request, adapter: Path | str, encoder: Path | str | None, prompt: str = ""
) -> Iterator[tuple[Session, StepCallback]]:
    check_files(adapter, encoder)
    files = [Path(file) for file in (adapter, encoder) if file is not None]
    session = open_session(Session(Diffusers(pipeline, files, prompt), pipeline))

    def on_step_end(pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps_done = step + 1
        if steps_done < pipeline.num_timesteps:  # no step follows the last one
            session.begin_step(steps_done / pipeline.num_timesteps)
        return tensors

    try:
        session.begin_pass(request)
        session.begin_step(0.0)
        yield session, on_step_end
        session.finish_pass()
    finally:
        close_session()


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" picks the fastest one present."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; "auto" is float32 on the CPU, else float16."""
    if name == "auto":
        name = "float32" if device.type == "cpu" else "float16"
    return _DTYPES[name]
