"""c_j = adapter(I_j): project an image embedding to image tokens, as in IP-Adapter (arXiv 2308.06721).

`base`: one linear layer spreads the CLIP image embedding over T tokens. `plus`: T learned latents gather from the
encoder's penultimate hidden states (a perceiver resampler, arXiv 2204.14198).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from lib_anyms.engine.sdpa import attend

Weights = Mapping[str, torch.Tensor]
HEAD_WIDTH = 64  # channels per head in every published IP-Adapter resampler


def project(kind: str, weights: Weights, embedding: torch.Tensor) -> torch.Tensor:
    """Image tokens (images, T, C) in the weights' dtype.

    embedding: for `base` the projected image embedding (images, E), for `plus` the penultimate hidden states
    (images, patches + 1, E).
    """
    return PROJECTIONS[kind](weights, embedding)


def _spread(weights: Weights, embedding: torch.Tensor) -> torch.Tensor:
    """The projection of `base`: linear, then one layer norm per token."""
    width = weights["norm.weight"].shape[0]
    tokens = F.linear(embedding, weights["proj.weight"], weights["proj.bias"]).unflatten(-1, (-1, width))
    return F.layer_norm(tokens, (width,), weights["norm.weight"], weights["norm.bias"])


def _resample(weights: Weights, hidden: torch.Tensor) -> torch.Tensor:
    """The projection of `plus`: layers of attention and feed-forward with residuals."""
    features = F.linear(hidden, weights["proj_in.weight"], weights["proj_in.bias"])
    latents = weights["latents"].expand(hidden.shape[0], -1, -1)
    depth = 0
    while f"layers.{depth}.0.to_q.weight" in weights:
        latents = latents + _gather(weights, f"layers.{depth}.0", features, latents)
        latents = latents + _feed_forward(weights, f"layers.{depth}.1", latents)
        depth += 1
    tokens = F.linear(latents, weights["proj_out.weight"], weights["proj_out.bias"])
    return _norm(weights, "norm_out", tokens)


def _gather(weights: Weights, name: str, features: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """The latents attend to the image's features and to themselves -> (images, T, D)."""
    features = _norm(weights, f"{name}.norm1", features)
    latents = _norm(weights, f"{name}.norm2", latents)
    both = torch.cat((features, latents), dim=1)
    query = F.linear(latents, weights[f"{name}.to_q.weight"])
    key, value = F.linear(both, weights[f"{name}.to_kv.weight"]).chunk(2, dim=-1)
    heads = query.shape[-1] // HEAD_WIDTH
    query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    return F.linear(attend(query, key, value).transpose(1, 2).flatten(2), weights[f"{name}.to_out.weight"])


def _feed_forward(weights: Weights, name: str, latents: torch.Tensor) -> torch.Tensor:
    hidden = F.gelu(F.linear(_norm(weights, f"{name}.0", latents), weights[f"{name}.1.weight"]))
    return F.linear(hidden, weights[f"{name}.3.weight"])


def _norm(weights: Weights, name: str, tensor: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(tensor, tensor.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


PROJECTIONS = {"base": _spread, "plus": _resample}
