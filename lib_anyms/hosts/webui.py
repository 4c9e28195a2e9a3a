"""What A1111 and the Forge family share: the job `p`, the denoiser callback and the models folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib_anyms.geometry import Frame
from lib_anyms.hosts.frames import frame_of

# The packages of "Tiled Diffusion" (A1111) and of the MultiDiffusion built into Forge's family.
TILERS = frozenset({"tile_methods", "lib_multidiffusion"})
# Below the host's models folder: where sd-webui-controlnet, Forge and ComfyUI users keep adapters and image encoders.
MODEL_FOLDERS = ("ipadapter", "ControlNet", "clip_vision", "ControlNetPreprocessor", "image_encoder")


def model_folders() -> list[Path]:
    """The folders above, and sd-webui-controlnet's own."""
    from modules import paths

    models = [Path(paths.models_path) / name for name in MODEL_FOLDERS]
    return [*models, Path(paths.data_path) / "extensions" / "sd-webui-controlnet" / "models"]


class WebUI:
    """One generation `p`."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self._progress = 0.0

    def folders(self) -> list[Path]:
        return model_folders()

    def tiled_by(self) -> str | None:
        """Tiled Diffusion puts a method of its own in place of one of the sampler's or model's, MultiDiffusion a wrapper around
        the UNet's patcher: told by the package they come from.
        """
        denoiser = getattr(getattr(self.p, "sampler", None), "model_wrap_cfg", None)
        patcher = getattr(getattr(self.p.sd_model, "forge_objects", None), "unet", None)
        found = [
            *(_owner(each, "forward") for each in (denoiser, getattr(denoiser, "inner_model", None))),
            _owner(self.p.sd_model, "apply_model"),
            getattr(patcher, "model_options", {}).get("model_function_wrapper"),
        ]
        names = [type(each).__name__ for each in found if type(each).__module__.partition(".")[0] in TILERS]
        return names[0] if names else None

    def make_room(self, size: int) -> None:
        """No memory manager to tell."""

    def tell(self, words: str | None) -> str | None:
        from modules import shared

        state = getattr(shared, "state", None)
        before: str | None = getattr(state, "textinfo", None)
        if state is not None:
            state.textinfo = words
        return before

    def interrupted(self) -> bool:
        """By "Interrupt" or "Skip"; "stop generating" lets this picture be finished."""
        from modules import shared

        state = getattr(shared, "state", None)
        return bool(getattr(state, "interrupted", False) or getattr(state, "skipped", False))

    def frame(self) -> Frame:
        return frame_of(self.p)

    def begin_step(self, step: Any) -> None:
        """`step` is the host's CFGDenoiserParams. Second-order samplers step more often than they have steps."""
        denoiser = step.denoiser
        total = getattr(denoiser, "total_steps", None) or step.total_sampling_steps or 1
        self._progress = min(denoiser.step / total, 1 - 1e-6)

    def progress(self) -> float:
        return self._progress


def _owner(module: Any, name: str) -> object:
    """The object whose bound method was put in place of `module`'s own; None where none was."""
    return getattr(getattr(module, "__dict__", {}).get(name), "__self__", None)
