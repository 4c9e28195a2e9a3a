"""The hosts the tests know: how AnyMS names each, how it is started, and what is different or not to be had there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_COMMON = ("--skip-prepare-environment", "--skip-torch-cuda-test", "--skip-install", "--no-hashing")
_NO_MODEL = ("--no-download-sd-model",)
_CPU = ("--always-cpu", "--all-in-fp32")


@dataclass(frozen=True)
class Kind:
    """One host. `missing` says of the cases it cannot do why: they are not an option there, which is not the same as
    untested.

    `page` is what its ui-config.json must hold before its first start. `unguided` are the rows of a call at CFG 1;
    `sparing`, the rows of three calls with "NGMS"; `early`, of four whose first half needs no unconditional ones;
    `ngms`, the settings by which that means every step; `any_size`, whether sizes are of 8 pixels, not of 64; `hires`,
    further fields of such a job; `hires_grid`, the height and width of the latent at 1.5 times the scene; `hires_cuts`,
    whether a second pass of another aspect shows a part of the first; `refiner`, the settings by which it switches at a
    share of the steps; `titles` and `arguments`, of scripts that have others than A1111's; `clip`, what ControlNet
    calls the image encoder of its IP- Adapter; `ip_weights`, how many times that multiplies by its weight;
    `eight_bits`, the flags and settings that keep the UNet's weights in eight bits; `low_memory`, flags that keep
    models away from where the UNet samples.
    """

    name: str
    flags: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    page: Mapping[str, Any] = field(default_factory=dict)
    unguided: tuple[bool, ...] = (True,)
    sparing: tuple[int, ...] = (2, 1, 2)
    early: tuple[int, ...] = (1, 1, 1, 2)
    ngms: Mapping[str, Any] = field(default_factory=lambda: {"s_min_uncond_all": True})
    any_size: bool = True
    hires: Mapping[str, Any] = field(default_factory=lambda: {"hr_upscaler": "Latent"})
    hires_grid: tuple[int, int] = (24, 36)
    hires_cuts: bool = True
    refiner: Mapping[str, Any] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    clip: str = "AnyMS test CLIP"
    ip_weights: int = 1
    eight_bits: tuple[tuple[str, ...], Mapping[str, Any]] = (("--unet-in-fp8-e4m3fn",), {})
    low_memory: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


# After the axes: no legend, with the cells' own pictures, no sub-grids, seeds fixed, values as CSV.
PLOT = [False, True, False, False, False, False, False, 0, True]
_SAME_MODULES = {"hr_additional_modules": ["Use same choices"]}
_NO_OUTPAINTING = dict.fromkeys(("Outpainting mk2", "Poor man's outpainting"), "it has no such script")
_UPSCALE = {"SD upscale": "SD Upscale"}

KINDS = {
    "a1111": Kind(
        "A1111",
        (*_COMMON, *_NO_MODEL, "--use-cpu", "all", "--no-half", "--precision", "full", "--do-not-download-clip"),
        unguided=(True, False),
        clip="ip-adapter_clip_h",
        eight_bits=((), {"fp8_storage": "Enable"}),
        missing={"eight bits": "its second text encoder fails on a CPU then, without AnyMS too"},
        low_memory=("--medvram", "--lowvram"),
    ),
    "forge": Kind("Forge", (*_COMMON, *_NO_MODEL, *_CPU), hires={"hr_upscaler": "Latent", **_SAME_MODULES}),
    "reforge": Kind(
        "reForge",
        (*_COMMON, *_NO_MODEL, *_CPU),
        sparing=(1, 2, 1),
        arguments={"x/y/z plot": [False, False, False, 0, *PLOT[1:]]},
        ip_weights=2,
        missing={
            "a job without scripts": "it looks among a job's scripts for its own, so a job without any fails there"
        },
    ),
    "forge_classic": Kind(
        "Forge classic",
        (*_COMMON, *_NO_MODEL, *_CPU),
        # by default the first step has no unconditional rows, and nothing is pasted while there is a negative prompt
        settings={"skip_early_cond": -1.0, "paste_safe_guard": False},
        sparing=(1, 1, 1),
        ngms={},  # it means every step
        titles=_UPSCALE,
        arguments={"SD upscale": [64, "None", 1]},
        missing={**_NO_OUTPAINTING, "diffusers' timesteps": "it has no choice of schedules"},
    ),
    "forge_neo": Kind(
        "Forge Neo",
        (*_COMMON, "--cpu", "--force-fp32"),
        settings={"VERSION_UID": "PY313"},  # without it, a host whose config.json is there asks on the console
        # its first start writes them; until the next one its paste button passes over a prompt that has no value of its
        # own
        page={f"{tab}/{label}/value": "" for tab in ("txt2img", "img2img") for label in ("Prompt", "Negative Prompt")},
        hires={"hr_upscaler": "None", **_SAME_MODULES},
        early=(2, 1, 1, 2),  # the first step is never meant
        any_size=False,
        hires_grid=(24, 40),
        hires_cuts=False,
        refiner={"refiner_use_steps": True},
        titles=_UPSCALE,
        eight_bits=(("--fp8_e4m3fn-unet",), {}),
        arguments={"SD upscale": [64, "None", 1, False], "x/y/z plot": [*PLOT[:7], 0, *PLOT[7:]]},
        missing={
            **_NO_OUTPAINTING,
            "a second pass that cuts": "it stretches",
            "its IP-Adapter": "no image encoder is loaded: it sets a `device` that is a property (read: real ones neither)",
        },
    ),
}
