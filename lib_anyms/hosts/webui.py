"""What A1111 and the Forge family share: the job `p`, the denoiser callback and the models folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib_anyms.geometry import Frame
from lib_anyms.hosts.frames import frame_of

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

    def make_room(self, size: int) -> None:
        """No memory manager to tell."""

    def frame(self) -> Frame:
        return frame_of(self.p)

    def begin_step(self, step: Any) -> None:
        """`step` is the host's CFGDenoiserParams. Second-order samplers step more often than they have steps."""
        denoiser = step.denoiser
        total = getattr(denoiser, "total_steps", None) or step.total_sampling_steps or 1
        self._progress = min(denoiser.step / total, 1 - 1e-6)

    def progress(self) -> float:
        return self._progress
