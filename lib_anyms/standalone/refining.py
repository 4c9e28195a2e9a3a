"""Refining on diffusers: after an image is sampled, one inpainting of each subject's region, back to front."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image, ImageFilter

from lib_anyms.job.request import Request
from lib_anyms.job.second_look import BLUR, bounds, inpainting_size, request_of, visible_masks
from lib_anyms.layout.geometry import Box, Viewport

Region = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def inpainting_pipeline(pipeline: Any) -> Any:
    """A pipeline that inpaints with the same parts; it loads nothing."""
    from diffusers import StableDiffusionXLInpaintPipeline

    zeros = bool(pipeline.config.get("force_zeros_for_empty_prompt", True))
    inpaints = StableDiffusionXLInpaintPipeline(**pipeline.components, force_zeros_for_empty_prompt=zeros)
    inpaints.set_progress_bar_config(disable=True)
    return inpaints


def inpaintings(request: Request, image: Image.Image) -> list[tuple[int, Image.Image, Region, tuple[int, int]]]:
    """For each subject to refine: its index, its mask, the region to crop, and the inpainting's width and height."""
    assert request.layout is not None
    planned = []
    for number, mask in visible_masks(request.layout, image.size).items():
        size = inpainting_size(request, mask)
        planned.append((number, mask, region_of(mask, int(request.refine_padding), size), size))
    return planned


def region_of(mask: Image.Image, padding: int, size: tuple[int, int]) -> Region:
    """The mask's region with padding, extended within the image to the aspect ratio of `size`, as the hosts do."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    left, right = max(0, left - padding), min(mask.size[0], right + padding)
    top, bottom = max(0, top - padding), min(mask.size[1], bottom + padding)
    aspect = size[0] / size[1]
    if (right - left) / (bottom - top) < aspect:
        left, right = _extended(left, right, round((bottom - top) * aspect), mask.size[0])
    else:
        top, bottom = _extended(top, bottom, round((right - left) / aspect), mask.size[1])
    return left, top, right, bottom


def _extended(first: int, last: int, length: int, side: int) -> tuple[int, int]:
    """The range with `length` around the same middle, moved into a side of that many pixels."""
    length = min(side, max(length, last - first))
    start = min(side - length, max(0, first - (length - (last - first)) // 2))
    return start, start + length


def request_in(request: Request, number: int, mask: Image.Image, region: Region) -> Request:
    """The request of one subject's inpainting: its box is where the mask is in the crop."""
    width, height = mask.size
    left, top, right, bottom = region
    box = bounds(mask)
    assert box is not None  # its subject is visible
    placed = Viewport(left / width, top / height, right / width, bottom / height).place(box)
    return request_of(request, number, placed or Box(0, 0, 1, 1), own_prompt=False, own_negative=False)


def inpaint(
    inpaints: Any, image: Image.Image, mask: Image.Image, region: Region, size: tuple[int, int], **arguments: Any
) -> Image.Image:
    """`image` with `region` cropped, inpainted at `size` where `mask` is white, and pasted back there."""
    soft = mask.filter(ImageFilter.GaussianBlur(BLUR))
    crop = image.crop(region).resize(size, Image.Resampling.LANCZOS)
    white = soft.crop(region).resize(size, Image.Resampling.LANCZOS)
    width, height = size
    painted = inpaints(image=crop, mask_image=white, width=width, height=height, **arguments).images[0]
    whole = image.copy()
    back = painted.resize((region[2] - region[0], region[3] - region[1]), Image.Resampling.LANCZOS)
    whole.paste(back, region[:2], soft.crop(region))
    return whole


def noise(seed: int, number: int) -> torch.Generator:
    """Each subject's inpainting has its own noise."""
    return torch.Generator("cpu").manual_seed(seed + 1 + number)
