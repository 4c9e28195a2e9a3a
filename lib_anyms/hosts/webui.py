"""The common part of A1111 and the Forge family: the job `p`, the denoiser callback, the models folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib_anyms.cards.library import Library
from lib_anyms.engine.skipped import HOSTS, module_of
from lib_anyms.hosts.facts import checkpoint_words
from lib_anyms.hosts.prompts import PromptSchedule, encode_webui_prompts
from lib_anyms.hosts.schedule import LAST, Schedule, schedule_of
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
        self._step = 0
        self.step: Any = None  # the host's parameters of this denoiser step, which later callbacks may change
        self._progress = 0.0
        self._sigma: torch.Tensor | None = None  # of this step, until `progress` has read it
        self._pass: tuple[Any, torch.Tensor] | None = None  # denoiser and first sigma, until the schedule is known
        self._schedule: Schedule | None = None

    def unet(self) -> nn.Module:
        """Each kind of WebUI has it elsewhere."""
        raise NotImplementedError

    def folders(self) -> list[Path]:
        return model_folders()

    def checkpoint(self) -> str:
        return checkpoint_words(getattr(self.p.sd_model, "sd_checkpoint_info", None))

    def wrapped_by(self) -> str:
        modules = (module_of(wrapper) for wrapper in self._wrappers())
        return next((module for module in modules if module.partition(".")[0] not in HOSTS), "")

    def _wrappers(self) -> list[object]:
        """What other extensions put between the sampler and the UNet: replaced methods, Forge's wrapper function."""
        denoiser = getattr(getattr(self.p, "sampler", None), "model_wrap_cfg", None)
        patcher = getattr(getattr(self.p.sd_model, "forge_objects", None), "unet", None)
        candidates = (
            _replacement(denoiser, "forward"),
            _replacement(getattr(denoiser, "inner_model", None), "forward"),
            _replacement(self.p.sd_model, "apply_model"),
            getattr(patcher, "model_options", {}).get("model_function_wrapper"),
        )
        return [candidate for candidate in candidates if candidate is not None]

    def end_scripts(self) -> None:
        """Call every script's post_sample: extensions take back there what they patched for the sampling."""
        from modules import scripts

        runner, arguments = getattr(self.p, "scripts", None), getattr(scripts, "PostSampleArgs", None)
        if runner is not None and arguments is not None and hasattr(runner, "post_sample"):
            runner.post_sample(self.p, arguments(getattr(getattr(self.p, "sampler", None), "last_latent", None)))

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
        """`step`: the host's CFGDenoiserParams. A denoiser counts its calls, from 0 in each pass."""
        self.step = step
        denoiser = step.denoiser
        total = getattr(denoiser, "total_steps", None) or step.total_sampling_steps or 1
        self._step = int(denoiser.step)
        self._progress = min(denoiser.step / total, LAST)
        self._sigma = getattr(step, "sigma", None)
        if self._step == 0:
            self._schedule = None
            self._pass = (denoiser, self._sigma) if self._sigma is not None else None

    def progress(self) -> float:
        """By the noise level, which waits for the device once a step; by the calls where the schedule is unknown."""
        sigma, self._sigma = self._sigma, None
        if sigma is None:
            return self._progress
        if self._pass is not None:
            denoiser, first = self._pass
            self._pass, self._schedule = None, schedule_of(self.p, denoiser, float(first.max()))
        if self._schedule is not None:
            self._progress = self._schedule.progress(float(sigma.max()))
        return self._progress


def _replacement(module: Any, name: str) -> object:
    """What replaces the method `name` of the object `module`; None where nothing does."""
    return getattr(module, "__dict__", {}).get(name)
