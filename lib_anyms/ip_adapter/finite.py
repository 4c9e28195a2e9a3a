"""Values that no image can be made of: NaN, infinite, or larger than half precision holds.

Damaged and badly converted weights give such values, and the image would be black without a word.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from lib_anyms.errors import Refused

LARGEST = 65504.0  # of float16, in which hosts sample; real keys, values and tokens stay below 1000


def largest(tensor: torch.Tensor) -> float:
    """The largest magnitude in `tensor`; NaN where it holds one, 0 where it is empty."""
    return float(tensor.detach().abs().amax()) if tensor.numel() else 0.0


def usable(size: float) -> bool:
    """Whether a largest magnitude is one that images can be made of; False for NaN."""
    return size <= LARGEST


def check_values(tensor: torch.Tensor, path_name: str, what: str) -> None:
    """Refuse values that cannot be used; `path_name` is the file whose weights gave them."""
    size = largest(tensor)
    if not usable(size):
        raise Refused("file_not_finite", path=path_name, what=what, got=f"{size:g}")


def rows_usable(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> list[bool]:
    """For each row (one image token) of the keys and values of all layers: whether all its values can be used.

    `pairs`: (tokens, channels) each, on one device. Waits for the device once.
    """
    sizes: torch.Tensor | None = None
    for pair in pairs:
        for tensor in pair:
            size = tensor.detach().abs().amax(1).float()
            sizes = size if sizes is None else torch.maximum(sizes, size)  # keeps NaN
    return [usable(size) for size in sizes.tolist()] if sizes is not None else []
