"""Our own SDXL UNet under LDM names: it loads the standalone's single files, with the outputs of diffusers.

The three attention functions are the hosts' variants between `to_q` and `to_out[0]`. Patches are Forge's, named in
`transformer_options`. Odd sizes are rounded up on the way down; on the way up they get the skip's size before the
convolution in Forge and diffusers, after it in A1111.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from lib_anyms.standalone.structure import LATENT_CHANNELS, NORM_GROUPS, Structure
from tests.support.tiny_unet import Downsample

PREFIX = "model.diffusion_model."
Options = dict[str, Any]


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """softmax(q k^T / sqrt d) v; each is (batch, tokens, channels)."""
    q, k, v = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(
        self, x: torch.Tensor, context: torch.Tensor | None = None, value: torch.Tensor | None = None
    ) -> torch.Tensor:
        context = x if context is None else context
        value = context if value is None else value
        return self.to_out(attention(self.to_q(x), self.to_k(context), self.to_v(value), self.heads))


def sdp_forward(self: CrossAttention, x: torch.Tensor, context: Any = None, value: Any = None) -> torch.Tensor:
    """A1111's sdp and sub-quadratic options: they call the parts of `to_out`, not `to_out` itself."""
    context = x if context is None else context
    out = attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads)
    return self.to_out[1](self.to_out[0](out))


def split_forward(self: CrossAttention, x: torch.Tensor, context: Any = None, value: Any = None) -> torch.Tensor:
    """A1111's split attention: slices of the queries, plain softmax, and the two parts of `to_out` unpacked."""
    context = x if context is None else context
    q, k, v = (
        t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        for t in (self.to_q(x), self.to_k(context), self.to_v(context))
    )
    slices = [(part @ k.transpose(-1, -2) / math.sqrt(k.shape[-1])).softmax(-1) @ v for part in q.split(5, dim=2)]
    out_proj, dropout = self.to_out
    return dropout(out_proj(torch.cat(slices, dim=2).transpose(1, 2).flatten(2)))


class GEGLU(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Dropout(0.0), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class BasicTransformerBlock(nn.Module):
    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = CrossAttention(width, width, heads)
        self.attn2 = CrossAttention(width, context, heads)
        self.ff = FeedForward(width)

    def forward(self, x: torch.Tensor, context: torch.Tensor, options: Options) -> torch.Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self._cross(self.norm2(x), context, options)
        return x + self.ff(self.norm3(x))

    def _cross(self, n: torch.Tensor, context: torch.Tensor, options: Options) -> torch.Tensor:
        """As in Forge: patches of the input and the output, and one that replaces `attn2.forward`."""
        attn2, value = self.attn2, context
        patches, replace = options.get("patches", {}), options.get("patches_replace", {}).get("attn2")
        for patch in patches.get("attn2_patch", ()):
            n, context, value = patch(n, context, value, options)
        if replace is not None:
            patch_options = {**options, "n_heads": attn2.heads}
            n = attn2.to_out(replace(attn2.to_q(n), attn2.to_k(context), attn2.to_v(value), patch_options))
        else:
            n = attn2(n, context, value)
        for patch in patches.get("attn2_output_patch", ()):
            n = patch(n, options)
        return n


class SpatialTransformer(nn.Module):
    def __init__(self, width: int, context: int, heads: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NORM_GROUPS, width, eps=1e-6)
        self.proj_in, self.proj_out = nn.Linear(width, width), nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(BasicTransformerBlock(width, context, heads) for _ in range(depth))

    def forward(self, x: torch.Tensor, context: torch.Tensor, options: Options) -> torch.Tensor:
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, context, options)
        return x + self.proj_out(tokens).transpose(1, 2).unflatten(-1, x.shape[-2:])


class ResBlock(nn.Module):
    def __init__(self, before: int, after: int, emb: int) -> None:
        super().__init__()

        def conv(width: int) -> nn.Module:
            return nn.Conv2d(width, after, 3, padding=1)

        self.in_layers = nn.Sequential(nn.GroupNorm(NORM_GROUPS, before), nn.SiLU(), conv(before))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, after))
        self.out_layers = nn.Sequential(nn.GroupNorm(NORM_GROUPS, after), nn.SiLU(), nn.Dropout(0.0), conv(after))
        self.skip_connection = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        inner = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(inner)


class Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, size: torch.Size | None) -> torch.Tensor:
        """Resize to `size`, or to twice the size if None."""
        target = size if size is not None else torch.Size(2 * side for side in x.shape[-2:])
        return self.conv(F.interpolate(x, size=tuple(target), mode="nearest"))


class TimestepEmbedSequential(nn.Sequential):
    """Passes each part the arguments of its class."""

    def forward(
        self,
        x: torch.Tensor,
        emb: torch.Tensor,
        context: torch.Tensor,
        options: Options,
        size: torch.Size | None = None,
    ) -> torch.Tensor:
        arguments = {ResBlock: (emb,), SpatialTransformer: (context, options), Upsample: (size,)}
        for part in self:
            x = part(x, *arguments.get(type(part), ()))
        return x


class LdmUNet(nn.Module):
    """sized: upsampling gets the skip's size, as in Forge."""

    def __init__(self, structure: Structure, sized: bool = False, channels: int = LATENT_CHANNELS) -> None:
        super().__init__()
        self.sized = sized
        base, self.depths = structure.widths[0], structure.depths
        emb = 4 * base
        self.base = base

        def embedding(width: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))

        def parts(before: int, level: int) -> list[nn.Module]:
            width, depth = structure.widths[level], structure.depths[level]
            heads = width // structure.head_width
            transformer = [SpatialTransformer(width, structure.context_width, heads, depth)] if depth else []
            return [ResBlock(before, width, emb), *transformer]

        self.time_embed = embedding(base)
        self.label_emb = nn.Sequential(embedding(structure.added_width))
        last = len(structure.widths) - 1
        stages: list[list[nn.Module]] = [[nn.Conv2d(channels, base, 3, padding=1)]]
        skips = [base]
        for level, width in enumerate(structure.widths):
            for _ in range(structure.res_blocks):
                stages.append(parts(skips[-1], level))
                skips.append(width)
            if level < last:
                stages.append([Downsample(width)])
                skips.append(width)
        self.input_blocks = nn.ModuleList(TimestepEmbedSequential(*stage) for stage in stages)
        width = structure.widths[-1]
        self.middle_block = TimestepEmbedSequential(*parts(width, last), ResBlock(width, width, emb))
        stages = []
        for level in range(last, -1, -1):
            for block in range(structure.res_blocks + 1):
                stage = parts(width + skips.pop(), level)
                width = structure.widths[level]
                stages.append([*stage, Upsample(width)] if level and block == structure.res_blocks else stage)
        self.output_blocks = nn.ModuleList(TimestepEmbedSequential(*stage) for stage in stages)
        self.out = nn.Sequential(
            nn.GroupNorm(NORM_GROUPS, base), nn.SiLU(), nn.Conv2d(base, LATENT_CHANNELS, 3, padding=1)
        )

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        y: torch.Tensor,
        transformer_options: Options | None = None,
    ) -> torch.Tensor:
        options = transformer_options if transformer_options is not None else {}
        patches = options.get("patches", {})
        options["original_shape"] = list(x.shape)
        emb = self.time_embed(sinusoids(timesteps, self.base).to(x.dtype)) + self.label_emb(y)
        skips = []
        for number, block in enumerate(self.input_blocks):
            options["block"] = ("input", number)
            x = block(x, emb, context, options)
            skips.append(x)
            for patch in patches.get("input_block_patch_after_skip", ()):
                x = patch(x, options)
        options["block"] = ("middle", 0)
        x = self.middle_block(x, emb, context, options)
        for number, block in enumerate(self.output_blocks):
            options["block"] = ("output", number)
            skip = skips.pop()
            for patch in patches.get("output_block_patch", ()):
                x, skip = patch(x, skip, options)
            if x.shape[-2:] != skip.shape[-2:]:  # A1111's hijack of torch.cat
                x = F.interpolate(x, size=skip.shape[-2:], mode="nearest")
            size = skips[-1].shape[-2:] if self.sized and skips else None
            x = block(torch.cat((x, skip), dim=1), emb, context, options, size)
        return self.out(x)


def sinusoids(timesteps: torch.Tensor, width: int) -> torch.Tensor:
    """(batch,) -> (batch, width): cosines, then sines, of frequencies from 1 down to 1e-4."""
    half = width // 2
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10_000) * torch.arange(half) / half)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def read_ldm_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights of the UNet in a single file, in float32."""
    state = load_file(checkpoint)
    return {name.removeprefix(PREFIX): state[name].float() for name in state if name.startswith(PREFIX)}


def load_ldm_unet(checkpoint: Path, structure: Structure, sized: bool = False) -> LdmUNet:
    """Load the UNet of a single file."""
    with torch.device("meta"):
        unet = LdmUNet(structure, sized)
    unet.load_state_dict(read_ldm_weights(checkpoint), assign=True)
    return unet.eval().requires_grad_(False)
