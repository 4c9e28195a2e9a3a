"""Make the images: by the pipeline of `demo` on diffusers, by diffusers' own IP-Adapter, or by a WebUI's API."""

from __future__ import annotations

import base64
import copy
import hashlib
import http.client
import io
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.job.request import Pictures, Request
from lib_anyms.lab.evaluation.suites import BASE, MODES, PEER, Mode
from lib_anyms.layout.fade import CONSTANT, Fade
from lib_anyms.layout.fields import OFF
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import HASHES
from lib_anyms.standalone.bundle import ADAPTERS, CHECKPOINT, ENCODER
from lib_anyms.standalone.generate import Models, pick_device, pick_dtype, sample
from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.sampling import Sampling
from lib_anyms.standalone.structure import SPRITES
from lib_anyms.tensor_files.tensor_file import open_tensors

DIFFUSERS = "diffusers"
_HASH_DIGITS = 16
_BLOCK = 2**20  # bytes read at a time
_SCRIPT = "AnyMS"
_SKIPPED = f"{_SCRIPT} skipped"
_TIMEOUT = 600  # seconds for one image of a WebUI
_SCHEDULER = "DDIM"  # the WebUIs' name for the pipeline's timesteps
# Settings of a WebUI for the same first noise as diffusers'.
_FIRST_NOISE = {"sgm_noise_multiplier": True, "randn_source": "CPU"}


@dataclass(frozen=True)
class Settings:
    """What all images of an evaluation share. host: "diffusers", or the address of a WebUI.

    fade: the part of `scale` in the later steps, see Request.
    """

    seed: int = 0
    steps: int = 20
    guidance: float = 4.0
    scale: float = 2.0
    device: str = "auto"
    dtype: str = "auto"
    host: str = DIFFUSERS
    fade: float = 0.5


class Order(Protocol):
    """What a painter needs of a scene: prompt, boxes, reference images, the seed of the noise, AnyMS's request."""

    @property
    def prompt(self) -> str: ...
    @property
    def noise(self) -> int: ...
    @property
    def anywhere(self) -> bool: ...
    @property
    def boxes(self) -> tuple[Box, ...]: ...
    def references(self) -> Pictures: ...
    def request(self, mode: Mode, scale: float) -> Request: ...


class NamedFiles(Protocol):
    """What a WebUI needs of files: names of adapters and encoder, and the pictures' size."""

    @property
    def adapters(self) -> Mapping[str, Path]: ...
    @property
    def encoder(self) -> Path: ...
    @property
    def side(self) -> int: ...


@dataclass(frozen=True)
class Files:
    """adapters: by kind, "base" (4 tokens) and "plus" (16). clip: a folder in transformers' format.

    size: of the pictures in pixels, in place of the model's native one.
    """

    checkpoint: Path
    adapters: Mapping[str, Path]
    encoder: Path
    clip: Path | None = None
    size: int | None = None

    def models(self, adapter: str | None) -> Models:
        """The files for one image. Without an adapter any is named: it takes no part."""
        return Models(self.checkpoint, self.adapters[adapter or next(iter(self.adapters))], self.encoder)

    @property
    def unjudged(self) -> str:
        """Why the oracle cannot judge these images; "" if it can."""
        if read_checkpoint(self.checkpoint).structure == SPRITES:
            return ""
        return f"the oracle knows the small world only, and {self.checkpoint.name} is another model"

    @property
    def side(self) -> int:
        """The pictures' size in pixels."""
        return self.size or read_checkpoint(self.checkpoint).structure.native_size

    def hashes(self) -> dict[str, str]:
        """By role: "checkpoint", "encoder", "adapter-base" ..."""
        paths = {"checkpoint": self.checkpoint, "encoder": self.encoder}
        for kind, path in self.adapters.items():
            paths[f"adapter-{kind}"] = path
        if self.clip:
            paths["clip"] = self.clip
        return {role: file_hash(path) for role, path in paths.items()}


def files_in(folder: Path, clip: Path | None = None) -> Files:
    """The small world's files, as exported by a training or joined by the bundle. Raises Refused."""
    adapters = {kind: folder / name for kind, name in ADAPTERS.items() if (folder / name).is_file()}
    checkpoint, encoder = folder / CHECKPOINT, folder / ENCODER
    for path in (checkpoint, encoder, *(adapters.values() or [folder / ADAPTERS[BASE]])):
        _check(path)
    return Files(checkpoint, adapters, encoder, clip)


def own_files(checkpoint: Path, adapter: Path, encoder: Path, clip: Path | None) -> Files:
    """The user's files; the adapter's weights show its kind. Raises Refused."""
    for path in (checkpoint, adapter, encoder):
        _check(path)
    return Files(checkpoint, {read_adapter(adapter).kind: adapter}, encoder, clip)


def _check(path: Path) -> None:
    if not path.is_file():
        raise Refused("cli_file", path=path, got="there is no such file")


@cache
def file_hash(path: Path) -> str:
    """The first digits of the SHA-256 of a file, or of all files of a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for name in files:
        with name.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:_HASH_DIGITS]


class DiffusersPainter:
    """One pipeline; and for each adapter of the mode diffusers-masks a copy of its UNet."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self._files, self._settings, self._side = files, settings, files.side
        device = pick_device(settings.device)
        self._pipeline = load_pipeline(files.checkpoint, device, pick_dtype(settings.dtype, device))
        self._pipeline.set_progress_bar_config(disable=True)
        self._peers: dict[str, Peer] = {}

    def paint(self, task: Order, mode: str, adapter: str | None) -> Image.Image:
        """One image. Raises Refused and SteppedAside."""
        settings = self._settings
        if mode == PEER and adapter:
            if adapter not in self._peers:
                self._peers[adapter] = Peer(self._pipeline, self._files, adapter)
            return self._peers[adapter].paint(task, settings, self._side)
        models, request = self._files.models(adapter), _request(task, MODES[mode], settings)
        sampling = Sampling(task.noise, settings.steps, settings.guidance, (self._side, self._side))
        return sample(self._pipeline, models, request, task.prompt, sampling).picture


class Peer:
    """diffusers' own IP-Adapter. AnyMS encodes the images, with the same result."""

    def __init__(self, pipeline: Any, files: Files, adapter: str, copied: bool = True) -> None:
        """With `copied` false the pipeline itself is changed: on a small GPU there is no room for two UNets."""
        unet = copy.deepcopy(pipeline.unet) if copied else pipeline.unet
        self._pipeline = StableDiffusionXLPipeline(**{**pipeline.components, "unet": unet})
        self._pipeline.set_progress_bar_config(disable=True)
        weights = _diffusers_weights(files.adapters[adapter])
        self._pipeline.load_ip_adapter(
            weights, subfolder="", weight_name="", image_encoder_folder=None, low_cpu_mem_usage=False
        )
        self._pipeline.unet.to(pipeline.device, pipeline.unet.dtype)
        self._kind = adapter
        self._encoder = Encoder(read_encoder(files.encoder), torch.device("cpu"), torch.float32)

    def paint(self, task: Order, settings: Settings, side: int) -> Image.Image:
        """One image. A box of the whole image needs no mask: that is plain IP-Adapter."""
        pipeline = self._pipeline
        images = [image for subject in task.references() for image in subject]
        strength = strength_of(task, settings)
        pipeline.set_ip_adapter_scale(settings.scale * strength.at(0.0))
        cond = self._encoder.encode(images, self._kind, "pad")
        uncond = self._encoder.encode_unconditional(self._kind).expand(cond.shape)
        embeddings = torch.stack((uncond, cond)).to(pipeline.device, pipeline.unet.dtype)
        masks = None if task.anywhere else {"ip_adapter_masks": [box_masks(_box_of_each(task), side).to(embeddings)]}
        return pipeline(
            prompt=task.prompt,
            negative_prompt=None,  # zeros, as in `generate.sample`
            ip_adapter_image_embeds=[embeddings],
            cross_attention_kwargs=masks,
            width=side,
            height=side,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=torch.Generator("cpu").manual_seed(task.noise),
            callback_on_step_end=partial(_fade, settings.scale, strength),
        ).images[0]


def strength_of(task: Order, settings: Settings) -> Fade:
    """A subject that has the whole image needs no placing: it has the later strength in all steps."""
    return Fade(settings.fade, 0.0 if task.anywhere else CONSTANT.start)


def _request(task: Order, mode: Mode, settings: Settings) -> Request:
    strength = strength_of(task, settings)
    return replace(task.request(mode, settings.scale), fade=strength.rest, fade_from=strength.start)


def _fade(
    scale: float, strength: Fade, pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
) -> dict[str, Any]:
    """After a step: the strength that AnyMS has in the next one."""
    pipeline.set_ip_adapter_scale(scale * strength.at((step + 1) / pipeline.num_timesteps))
    return tensors


def _box_of_each(task: Order) -> list[Box]:
    """The subject's box for each reference image: diffusers needs a mask for each."""
    boxes: list[Box] = []
    for box, pictures in zip(task.boxes, task.references()):
        boxes += [box] * len(pictures)
    return boxes


def box_masks(boxes: Sequence[Box], side: int) -> torch.Tensor:
    """(1, boxes, side, side): 1 inside the box."""
    masks = torch.zeros(1, len(boxes), side, side)
    for mask, box in zip(masks[0], boxes):
        mask[round(box.y0 * side) : round(box.y1 * side), round(box.x0 * side) : round(box.x1 * side)] = 1
    return masks


def _diffusers_weights(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """An adapter's file in the form for diffusers' `load_ip_adapter`."""
    groups: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    with open_tensors(path) as file:
        for name in file.shapes:
            group, _, rest = name.partition(".")
            groups[group][rest] = file.load(name).float()
    return groups


class WebUIPainter:
    """A running A1111 or Forge with AnyMS, and the checkpoint it has loaded. It finds adapter and encoder by name."""

    def __init__(self, files: NamedFiles, settings: Settings) -> None:
        self._address, self._files, self._settings, self._side = settings.host.rstrip("/"), files, settings, files.side
        scripts = self._call("/sdapi/v1/scripts").get("txt2img", [])
        if _SCRIPT.lower() not in [str(name).lower() for name in scripts]:
            raise Refused("host_lacks", host=self._address)
        self._options = self._call("/sdapi/v1/options")

    @property
    def checkpoint(self) -> str:
        """The name of the checkpoint that the WebUI has loaded."""
        return str(self._options.get("sd_model_checkpoint"))

    @property
    def advice(self) -> str:
        """How to get diffusers' first noise there; "" if the settings are right."""
        other = {name: value for name, value in _FIRST_NOISE.items() if self._options.get(name, value) != value}
        changes = " and ".join(f"{name} from {self._options[name]} to {value}" for name, value in other.items())
        return f"for the same first noise as diffusers, change the host's setting {changes}" if other else ""

    def paint(self, task: Order, mode: str, adapter: str | None) -> Image.Image:
        """One image. Raises Refused with the WebUI's message."""
        kind = MODES[mode]
        if not kind.on_hosts:
            possible = [name for name, other in MODES.items() if other.on_hosts]
            raise Refused("host_mode", got=mode, expected=", ".join(possible))
        settings = self._settings
        job: dict[str, Any] = {"prompt": task.prompt, "negative_prompt": "", "seed": task.noise}
        job |= {"steps": settings.steps, "cfg_scale": settings.guidance}
        job |= {"sampler_name": "Euler", "scheduler": _SCHEDULER}
        job |= {"width": self._side, "height": self._side, "alwayson_scripts": {}}
        if kind.stream != OFF:
            job["alwayson_scripts"] = {_SCRIPT: {"args": [self._request(task, kind, adapter)]}}
        answer = self._call("/sdapi/v1/txt2img", job)
        info = str(answer.get("info", ""))
        if _SKIPPED in info:
            raise Refused("host_answer", host=self._address, got=info[info.index(_SKIPPED) :][:300])
        try:
            text = answer["images"][0]
            return Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2] or text))).convert("RGB")
        except (KeyError, IndexError, ValueError, OSError, AttributeError) as error:
            raise Refused("host_answer", host=self._address, got="no image") from error

    def _request(self, task: Order, kind: Mode, adapter: str | None) -> dict[str, Any]:
        """AnyMS's request as JSON, with the images in place of their hashes."""
        data = _request(task, kind, self._settings).to_json()
        for subject, images in zip(data["subjects"], task.references()):
            del subject[HASHES]
            subject["images"] = [_base64(image) for image in images]
        path = self._files.adapters[adapter or next(iter(self._files.adapters))]
        return {**data, "adapter": path.name, "encoder": self._files.encoder.name}

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET, or POST of JSON. Raises Refused with the WebUI's own message."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise Refused("host_answer", host=self._address, got=_message(error)) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refused("host_unreachable", host=self._address, got=str(error) or type(error).__name__) from error
        return answer if isinstance(answer, dict) else {}


def _message(error: urllib.error.HTTPError) -> str:
    """The message of a failure; WebUIs use different fields for it."""
    text = error.read().decode("utf-8", "replace")
    try:
        body = json.loads(text)
        return str(body.get("errors") or body.get("message") or body.get("detail") or text)[:500]
    except (ValueError, AttributeError):
        return f"{error.code} {error.reason}"


def _base64(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()
