"""The hosts of the tests: their names in AnyMS, how they start, and what is different or missing there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_COMMON = ("--skip-prepare-environment", "--skip-torch-cuda-test", "--skip-install", "--no-hashing")
_NO_MODEL = ("--no-download-sd-model",)
_CPU = ("--always-cpu", "--all-in-fp32")


@dataclass(frozen=True)
class Kind:
    """One host.

    missing: the reason for each case that the host cannot do, which is not the same as untested.
    page: what its ui-config.json must hold before its first start.
    unguided: batch entries of a call at CFG 1.
    sparing: batch entries of three calls with "NGMS".
    early: batch entries of four calls; the first half needs no unconditional ones.
    ngms: settings that apply NGMS to every step.
    any_size: sizes are multiples of 8 pixels, not of 64.
    hires: further fields of a job with a hires fix.
    hires_grid: height and width of the latent at 1.5 times the scene.
    hires_cuts: a second pass of another aspect shows a crop of the first.
    refiner: settings that switch to it at a share of the steps.
    titles, arguments: of scripts that differ from A1111's.
    clip: ControlNet's name for the image encoder of its IP-Adapter.
    ip_weights: how many times ControlNet's IP-Adapter applies its weight.
    eight_bits: flags and settings that store the UNet's weights in eight bits.
    low_memory: flags that move models off the sampling device.
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
        # by default the first step has no unconditional batch entries, and a negative prompt disables pasting
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
        settings={"VERSION_UID": "PY313"},  # without it the host waits for an answer on the console
        # Its first start writes them. Until the next start its paste button skips a prompt without a value.
        page={f"{tab}/{label}/value": "" for tab in ("txt2img", "img2img") for label in ("Prompt", "Negative Prompt")},
        hires={"hr_upscaler": "None", **_SAME_MODULES},
        early=(2, 1, 1, 2),  # never in the first step
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
            "its IP-Adapter": "its image encoder is not loaded: it sets `device`, which is a property",
        },
    ),
}
