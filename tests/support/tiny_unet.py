"""A small UNet with SDXL's block structure and LDM names: the laws need neither diffusers nor a host.

Odd sizes round up on the way down, and return to the skip's shape on the way up, as in Forge.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CONTEXT = 24


class CrossAttention(nn.Module):
    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        context = x if context is None else context
        projected = (self.to_q(x), self.to_k(context), self.to_v(context))
        q, k, v = (tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tensor in projected)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class BasicTransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = CrossAttention(width, width, heads)
        self.attn2 = CrossAttention(width, CONTEXT, heads)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.proj_in, self.proj_out = nn.Linear(width, width), nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(BasicTransformerBlock(width, heads) for _ in range(depth))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(tokens).transpose(1, 2).unflatten(-1, (height, width))


class ResBlock(nn.Module):
    def __init__(self, before: int, after: int, emb: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(8, before), nn.Conv2d(before, after, 3, padding=1)
        self.emb = nn.Linear(emb, after)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.conv(F.silu(self.norm(x))) + self.emb(emb)[:, :, None, None]


class Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class TimestepSequential(nn.Sequential):
    """LDM's TimestepEmbedSequential: each part gets the inputs it takes."""

    def forward(
        self, x: torch.Tensor, emb: torch.Tensor, context: torch.Tensor, size: tuple[int, int] | None = None
    ) -> torch.Tensor:
        for part in self:
            if isinstance(part, ResBlock):
                x = part(x, emb)
            elif isinstance(part, SpatialTransformer):
                x = part(x, context)
            elif isinstance(part, Upsample):
                assert size is not None
                x = part(x, size)
            else:
                x = part(x)
        return x


class TinyUNet(nn.Module):
    """`depths`: transformer blocks at each level; the middle block has as many as the last level."""

    def __init__(
        self,
        depths: tuple[int, int, int] = (0, 1, 2),
        heads: int = 2,
        channels: int = 4,
        widths: tuple[int, int, int] = (16, 32, 32),
    ) -> None:
        super().__init__()
        emb = 16
        self.time_embed = nn.Linear(1, emb)

        def block(before: int, level: int) -> list[nn.Module]:
            parts: list[nn.Module] = [ResBlock(before, widths[level], emb)]
            return [*parts, SpatialTransformer(widths[level], heads, depths[level])] if depths[level] else parts

        stages, skips = [TimestepSequential(nn.Conv2d(channels, widths[0], 3, padding=1))], [widths[0]]
        for level in range(3):
            for _ in range(2):
                stages.append(TimestepSequential(*block(skips[-1], level)))
                skips.append(widths[level])
            if level < 2:
                stages.append(TimestepSequential(Downsample(widths[level])))
                skips.append(widths[level])
        self.input_blocks = nn.ModuleList(stages)
        last = widths[2]
        self.middle_block = TimestepSequential(*block(last, 2), ResBlock(last, last, emb))
        stages, current = [], last
        for level in (2, 1, 0):
            for index in range(3):
                parts = block(current + skips.pop(), level)
                current = widths[level]
                if level and index == 2:
                    parts.append(Upsample(current))
                stages.append(TimestepSequential(*parts))
        self.output_blocks = nn.ModuleList(stages)
        self.out = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor, transformer_options: dict | None = None
    ) -> torch.Tensor:
        emb = self.time_embed(timesteps[:, None].to(x) / 1000)
        skips = []
        for stage in self.input_blocks:
            x = stage(x, emb, context)
            skips.append(x)
        x = self.middle_block(x, emb, context)
        for stage in self.output_blocks:
            x = torch.cat((x, skips.pop()), dim=1)
            x = stage(x, emb, context, tuple(skips[-1].shape[-2:]) if skips else None)
        return self.out(x)


def tiny_unet(dtype: torch.dtype = torch.float32, seed: int = 0, **structure) -> TinyUNet:
    torch.manual_seed(seed)
    return TinyUNet(**structure).to(dtype).eval()


def inputs(
    batch: int, height: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 1
) -> tuple[torch.Tensor, ...]:
    """(x, timesteps, context) of a call with `batch` different entries."""
    make = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 4, height, width, generator=make, dtype=torch.float64)
    context = torch.randn(batch, 7, CONTEXT, generator=make, dtype=torch.float64)
    return x.to(dtype), torch.full((batch,), 500.0, dtype=dtype), context.to(dtype)
