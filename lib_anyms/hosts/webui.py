"""What A1111 and the Forge family share: the job `p`, the denoiser callback and the models folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib_anyms.cards.library import Library
from lib_anyms.hosts.viewport import viewport_of
from lib_anyms.layout.geometry import Viewport

# The packages of "Tiled Diffusion" (A1111) and of the MultiDiffusion built into Forge's family.
TILERS = frozenset({"tile_methods", "lib_multidiffusion"})
# Below a folder of models: where users of sd-webui-controlnet, Forge and ComfyUI keep adapters and image encoders.
MODEL_FOLDERS = ("ipadapter", "ControlNet", "clip_vision", "ControlNetPreprocessor", "image_encoder", "controlnet")
# Below the host's data: sd-webui-controlnet's own folders; it calls encoders clip_h.pth and clip_g.pth.
CONTROLNET = ("models", "annotator/downloads/clip_vision")
# Flags that name further folders; ComfyUI's is that of the whole program.
FLAGS = (
    *("controlnet_dir", "controlnet_dirs", "controlnet_preprocessor_models_dir", "controlnet_annotator_models_path"),
    *("forge_ref_a1111_home", "forge_ref_comfy_home"),
)
EXTRA_FOLDERS = "anyms_folders"  # our setting: one folder a line
CARDS_FOLDER = "anyms_cards"  # our setting
CONTROLNET_FOLDER = "control_net_models_path"  # sd-webui-controlnet's


def model_folders() -> list[Path]:
    """The folders above, whether they are there or not, and those the user has named in flags and settings."""
    from modules import paths, shared

    extension = Path(paths.data_path) / "extensions" / "sd-webui-controlnet"
    controlnet = [extension / name for name in CONTROLNET]
    flags = [getattr(shared.cmd_opts, flag, None) for flag in FLAGS]
    flagged = [Path(each) for given in flags for each in (given if isinstance(given, list) else [given]) if each]
    settings = [str(getattr(shared.opts, name, "") or "") for name in (EXTRA_FOLDERS, CONTROLNET_FOLDER)]
    asked = "\n".join(settings).splitlines()
    named = [*flagged, *(Path(line.strip()).expanduser() for line in asked if line.strip())]
    found = [*_below(Path(paths.models_path)), *controlnet, *(place for folder in named for place in _narrowed(folder))]
    return list(dict.fromkeys(found))


def kept_files() -> Path:
    """Where AnyMS keeps in this WebUI what may be made anew."""
    from modules import paths

    return Path(paths.data_path) / "cache" / "anyms"


def card_library() -> Library:
    """The folder of subject cards: that of the settings, or anyms-cards beside the host's models."""
    from modules import paths, shared

    asked = str(getattr(shared.opts, CARDS_FOLDER, "") or "").strip()
    return Library(Path(asked).expanduser() if asked else Path(paths.models_path) / "anyms-cards")


def generating() -> bool:
    """Whether the host makes a picture, or is about to."""
    from modules import shared

    state = getattr(shared, "state", None)
    return bool(getattr(state, "job", "") or getattr(state, "job_count", 0))


def _below(models: Path) -> list[Path]:
    return [models / name for name in MODEL_FOLDERS]


def _narrowed(folder: Path) -> list[Path]:
    """Of a whole WebUI or ComfyUI, or its models, only what may hold ours; any other folder as it is."""
    for models in (folder / "models", folder):
        places = [place for place in _below(models) if place.is_dir()]
        if places:
            return places
    return [folder]


class WebUI:
    """One generation `p`."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self._progress = 0.0

    def folders(self) -> list[Path]:
        return model_folders()

    def tiled_by(self) -> str | None:
        """Tiled Diffusion puts a method of its own in place of one of the sampler's or model's, MultiDiffusion a
        wrapper around the UNet's patcher: told by the package they come from.
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

    def viewport(self) -> Viewport:
        return viewport_of(self.p)

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
