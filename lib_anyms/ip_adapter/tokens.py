"""From reference pictures to image tokens c_j: image encoder, adapter projection, and several pictures per subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.adapter_file import adapter_file
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.encoder import Encoder, EncoderCheckpoint
from lib_anyms.ip_adapter.finite import check_values
from lib_anyms.ip_adapter.projection import project
from lib_anyms.tensor_files.tensor_file import TensorFile

# (pictures, tokens, C) -> (tokens, C)
COMBINE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "average": lambda tokens: tokens.mean(0),
    "concatenate": lambda tokens: tokens.flatten(0, 1),
}


@dataclass(frozen=True)
class ImageTokens:
    """c_j of each subject (tokens, C), and the unconditional tokens (T, C) that all subjects share."""

    subjects: tuple[torch.Tensor, ...]
    unconditional: torch.Tensor


def check_pair(adapter: AdapterCheckpoint, encoder: EncoderCheckpoint) -> None:
    """Raises Refused unless `encoder` has the width that `adapter` expects."""
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
    file: TensorFile | None = None,
) -> ImageTokens:
    """Encode the pictures of each subject. The order of a subject's pictures matters only to "concatenate".

    file: the adapter's open file; None opens it. Raises Refused for an encoder that does not fit, a file that cannot be
    read, or weights that give NaN, infinite or huge values.
    """
    check_pair(adapter, encoder.checkpoint)
    unconditional = encoder.encode_unconditional(adapter.kind)
    check_values(unconditional, encoder.checkpoint.path.name, "the encoding of no picture")
    weights: dict[str, torch.Tensor] = {}
    with adapter_file(adapter, file) as source:
        for name, key in adapter.projection.items():
            weights[name] = source.load(key).to(unconditional.device).to(unconditional.dtype)

    subjects = []
    for group in pictures:
        embedding = encoder.encode(group, adapter.kind, fit)
        check_values(embedding, encoder.checkpoint.path.name, "the encoding of a picture")
        subjects.append(_checked(adapter, COMBINE[combine](project(adapter.kind, weights, embedding))))
    return ImageTokens(tuple(subjects), _checked(adapter, project(adapter.kind, weights, unconditional)[0]))


def _checked(adapter: AdapterCheckpoint, tokens: torch.Tensor) -> torch.Tensor:
    check_values(tokens, adapter.path.name, "an image token")
    return tokens
