"""From reference pictures to image tokens c_j: encoder, projection, and several pictures made into one subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.encoder import Encoder, EncoderCheckpoint
from lib_anyms.ip_adapter.projection import project
from lib_anyms.tensor_files.tensor_file import open_tensors

COMBINE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "average": lambda tokens: tokens.mean(0),
    "concatenate": lambda tokens: tokens.flatten(0, 1),
}


@dataclass(frozen=True)
class ImageTokens:
    """c_j of each subject (tokens, C), and the unconditional tokens (T, C) all subjects share."""

    subjects: tuple[torch.Tensor, ...]
    unconditional: torch.Tensor


def check_pair(adapter: AdapterCheckpoint, encoder: EncoderCheckpoint) -> None:
    """Raises Refused unless `encoder` gives what `adapter` takes."""
    got = encoder.width_for(adapter.kind)
    if got != adapter.encoder_width:
        facts = {"encoder": encoder.path.name, "adapter": adapter.path.name}
        raise Refused("encoder_mismatch", got=got, expected=adapter.encoder_width, **facts)


@torch.no_grad()
def image_tokens(
    adapter: AdapterCheckpoint,
    encoder: Encoder,
    pictures: Iterable[Sequence[Image.Image]],
    fit: str = "pad",
    combine: str = "average",
) -> ImageTokens:
    """Encode the pictures of each subject; the order of a subject's pictures matters only to "concatenate"."""
    check_pair(adapter, encoder.checkpoint)
    nothing = encoder.encode_nothing(adapter.kind)
    with open_tensors(adapter.path) as file:
        weights = {name: file.load(key).to(nothing.device, nothing.dtype) for name, key in adapter.projection.items()}

    def tokens_of(embedding: torch.Tensor) -> torch.Tensor:
        return project(adapter.kind, weights, embedding)

    subjects = tuple(COMBINE[combine](tokens_of(encoder.encode(group, adapter.kind, fit))) for group in pictures)
    return ImageTokens(subjects, tokens_of(nothing)[0])
