"""From reference pictures to image tokens. The image encoder is loaded for this and dropped afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from PIL import Image

from lib_anyms.errors import SteppedAside
from lib_anyms.ip_adapter.adapter_file import adapter_file
from lib_anyms.ip_adapter.encoder import Encoder
from lib_anyms.ip_adapter.tokens import ImageTokens, image_tokens
from lib_anyms.job.encode_host import CPU, CpuHost, EncodeHost
from lib_anyms.job.token_cache import Key, TokenCache, image_digest, models_version
from lib_anyms.models.model_files import ModelPair
from lib_anyms.runtime import runtime
from lib_anyms.tensor_files.tensor_file import TensorFile

_AUTOCASTS = ("cpu", "cuda", "xpu")

SubjectImages = tuple[Image.Image, ...]


@dataclass(frozen=True)
class EncodeTask:
    """Where and how a job's pictures are encoded.

    file: the open file of `pair.adapter`; device: of encoder and tokens; dtype: of the keys and values.
    """

    host: EncodeHost
    pair: ModelPair
    file: TensorFile
    device: torch.device
    dtype: torch.dtype
    fit: str
    combine: str

    @property
    def precise(self) -> torch.dtype:
        """The dtype of image tokens."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def encoder_dtype(self) -> torch.dtype:
        """Half precision on a GPU, unless the UNet samples in float32 there (--no-half): its GPU may give NaN."""
        half = self.device.type != "cpu" and self.dtype in (torch.float16, torch.bfloat16)
        return torch.float16 if half else self.precise


def encode_pictures(task: EncodeTask, subjects: Sequence[SubjectImages]) -> ImageTokens:
    """c_j of each subject and the unconditional tokens, on the task's device.

    Loads the encoder only for pictures that are not cached, and drops it. Raises SteppedAside where the user stops the
    job.
    """
    uncond, keys = _keys(task, subjects)
    tokens = runtime.of(TokenCache).find_all([uncond, *keys])
    missing = {key: images for key, images in zip(keys, subjects) if key not in tokens}
    if missing or uncond not in tokens:
        tokens.update(_encode(task, uncond, missing))
    return ImageTokens(tuple(tokens[key].to(task.device) for key in keys), tokens[uncond].to(task.device))


def encode_on_cpu(
    pair: ModelPair, subjects: Sequence[SubjectImages], fit: str, combine: str, file: TensorFile | None = None
) -> ImageTokens:
    """`encode_pictures` where nothing is sampled, in float32. file: the adapter's open file; None opens it."""
    with adapter_file(pair.adapter, file) as opened, without_autocast(CPU), torch.no_grad():
        task = EncodeTask(CpuHost(), pair, opened, CPU, torch.float32, fit, combine)
        return encode_pictures(task, subjects)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A1111 samples within autocast, which would turn float32 into half precision."""
    return torch.autocast(device.type, enabled=False) if device.type in _AUTOCASTS else nullcontext()


def _keys(task: EncodeTask, subjects: Sequence[SubjectImages]) -> tuple[Key, list[Key]]:
    """The cache keys of the unconditional tokens, and of each subject's."""
    models = (*models_version(task.pair), task.precise)
    keys = []
    for images in subjects:
        keys.append((*models, task.fit, task.combine, *map(image_digest, images)))
    return (*models, "uncond"), keys


def _encode(task: EncodeTask, uncond: Key, missing: dict[Key, SubjectImages]) -> dict[Key, torch.Tensor]:
    """Load the encoder, encode and cache. The unconditional tokens are always encoded."""
    host, encoder = task.host, task.pair.encoder
    assert encoder is not None
    if task.device == host.device():
        host.make_room(_bytes_needed(task, max(map(len, missing.values()), default=1)))
    _stop_if_interrupted(host)
    loaded = Encoder(encoder, task.device, task.encoder_dtype)
    images = _with_status(host, missing)
    encoded = image_tokens(task.pair.adapter, loaded, images, task.fit, task.combine, task.file)
    del loaded  # frees its memory before the UNet runs
    tokens = {uncond: encoded.unconditional, **dict(zip(missing, encoded.subjects))}
    for key, tensor in tokens.items():
        runtime.of(TokenCache).add(key, tensor)
    return tokens


def _with_status(host: EncodeHost, missing: dict[Key, SubjectImages]) -> Iterator[SubjectImages]:
    """Each subject's images in turn. A CPU takes seconds per subject, so the user can stop between two."""
    for number, images in enumerate(missing.values(), 1):
        _stop_if_interrupted(host)
        host.show_status(f"AnyMS reads the reference pictures: {number} of {len(missing)}")
        yield images


def _stop_if_interrupted(host: EncodeHost) -> None:
    if host.interrupted():
        raise SteppedAside("interrupted")


def _bytes_needed(task: EncodeTask, pictures: int) -> int:
    """Of the encoder, of its activations for `pictures` at once, and of the adapter's projection in float32."""
    encoder = task.pair.encoder
    assert encoder is not None
    projection = sum(prod(task.file.shapes[key]) for key in task.pair.adapter.projection.values())
    size = torch.empty(0, dtype=task.encoder_dtype).element_size()
    return size * (encoder.parameters + pictures * encoder.activations) + 4 * projection
