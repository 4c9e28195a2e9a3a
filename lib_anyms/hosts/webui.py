"""The common part of A1111 and the Forge family: the job `p`, the denoiser callback, the models folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lib_anyms.cards.library import Library
from lib_anyms.hosts.facts import checkpoint_words
from lib_anyms.hosts.prompts import PromptSchedule, encode_webui_prompts
from lib_anyms.hosts.viewport import viewport_of
from lib_anyms.layout.geometry import Viewport

# Modules whose functions replace the forward of attn2 to give each region its text. Forge Couple repeats batch entries
# instead, which the engine recognises.
REGIONAL_TEXTS = {"scripts.attention": "Regional Prompter"}
# In a models folder: where users of sd-webui-controlnet, Forge and ComfyUI keep adapters and image encoders.
MODEL_FOLDERS = ("ipadapter", "ControlNet", "clip_vision", "ControlNetPreprocessor", "image_encoder", "controlnet")
# In the extension sd-webui-controlnet: its own folders, where encoders are named clip_h.pth and clip_g.pth.
CONTROLNET = ("models", "annotator/downloads/clip_vision")
# Flags that name further folders. The one for ComfyUI names the folder of the whole program.
FLAGS = (
    *("controlnet_dir", "controlnet_dirs", "controlnet_preprocessor_models_dir", "controlnet_annotator_models_path"),
    *("forge_ref_a1111_home", "forge_ref_comfy_home"),
)
EXTRA_FOLDERS = "anyms_folders"  # our setting: one folder per line
CARDS_FOLDER = "anyms_cards"  # our setting
CONTROLNET_FOLDER = "control_net_models_path"  # sd-webui-controlnet's


def model_folders() -> list[Path]:
    """The folders above, which may not exist, and those that the user named in flags and settings."""
    from modules import paths, shared

    extension = Path(paths.data_path) / "extensions" / "sd-webui-controlnet"
    controlnet = [extension / name for name in CONTROLNET]
    folders = [*_model_subfolders(Path(paths.models_path)), *controlnet]
    for folder in [*_folders_of_flags(shared.cmd_opts), *_folders_of_settings(shared.opts)]:
        folders += _narrowed(folder)
    return list(dict.fromkeys(folders))


def cache_folder() -> Path:
    """The folder of AnyMS's caches in this WebUI."""
    from modules import paths

    return Path(paths.data_path) / "cache" / "anyms"


def card_library() -> Library:
    """The folder of subject cards: from the settings, else anyms-cards in the host's models folder."""
    from modules import paths, shared

    setting = str(getattr(shared.opts, CARDS_FOLDER, "") or "").strip()
    return Library(Path(setting).expanduser() if setting else Path(paths.models_path) / "anyms-cards")


def generating() -> bool:
    """Whether the host generates an image, or is about to."""
    from modules import shared

    state = getattr(shared, "state", None)
    return bool(getattr(state, "job", "") or getattr(state, "job_count", 0))


def _folders_of_flags(options: Any) -> list[Path]:
    folders = []
    for flag in FLAGS:
        value = getattr(options, flag, None)
        paths = value if isinstance(value, list) else [value]
        folders += [Path(path) for path in paths if path]
    return folders


def _folders_of_settings(options: Any) -> list[Path]:
    folders = []
    for name in (EXTRA_FOLDERS, CONTROLNET_FOLDER):
        lines = str(getattr(options, name, "") or "").splitlines()
        folders += [Path(line.strip()).expanduser() for line in lines if line.strip()]
    return folders


def _model_subfolders(models: Path) -> list[Path]:
    return [models / name for name in MODEL_FOLDERS]


def _narrowed(folder: Path) -> list[Path]:
    """For a whole WebUI or ComfyUI, or its models: only the subfolders that may hold our files. Else the folder."""
    for models in (folder / "models", folder):
        subfolders = [subfolder for subfolder in _model_subfolders(models) if subfolder.is_dir()]
        if subfolders:
            return subfolders
    return [folder]


class WebUI:
    """One generation `p` in a WebUI."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self._progress = 0.0
        self._step = 0
        self.step: Any = None  # the host's parameters of this denoiser step, which later callbacks may change

    def unet(self) -> nn.Module:
        """Each kind of WebUI has it elsewhere."""
        raise NotImplementedError

    def folders(self) -> list[Path]:
        return model_folders()

    def checkpoint(self) -> str:
        return checkpoint_words(getattr(self.p.sd_model, "sd_checkpoint_info", None))

    def text_led_by(self) -> str | None:
        """Recognised by the first cross-attention; such an extension may replace them after our callbacks."""
        for name, module in self.unet().named_modules():
            if name.endswith("attn2"):
                return REGIONAL_TEXTS.get(getattr(vars(module).get("forward"), "__module__", ""))
        return None

    def make_room(self, size: int) -> None:
        """Nothing to do: there is no memory manager."""

    def show_status(self, text: str | None) -> str | None:
        from modules import shared

        state = getattr(shared, "state", None)
        previous: str | None = getattr(state, "textinfo", None)
        if state is not None:
            state.textinfo = text
        return previous

    def interrupted(self) -> bool:
        """By "Interrupt" or "Skip". "Stop generating" finishes this image, so it does not count."""
        from modules import shared

        state = getattr(shared, "state", None)
        return bool(getattr(state, "interrupted", False) or getattr(state, "skipped", False))

    def viewport(self) -> Viewport:
        return viewport_of(self.p)

    def prompt(self) -> str:
        own = getattr(self.p, "hr_prompts", None) if getattr(self.p, "is_hr_pass", False) else None
        prompts = own or getattr(self.p, "prompts", None)
        return str(prompts[0] if prompts else getattr(self.p, "prompt", ""))

    def encode_prompts(self, prompts: Sequence[str], negative: bool) -> list[PromptSchedule]:
        return encode_webui_prompts(self.p, prompts, negative)

    def schedule_step(self) -> int:
        return self._step

    def begin_step(self, step: Any) -> None:
        """`step`: the host's CFGDenoiserParams. Second-order samplers make more calls than steps."""
        self.step = step
        denoiser = step.denoiser
        total = getattr(denoiser, "total_steps", None) or step.total_sampling_steps or 1
        self._progress = min(denoiser.step / total, 1 - 1e-6)
        self._step = int(denoiser.step)

    def progress(self) -> float:
        return self._progress
