"""Test only: makes ControlNet and its IP-Adapter work with the tiny model, in A1111 (sd-webui-controlnet) and Forge.

They recognise SDXL's IP-Adapter by a text of 2048 channels, and an image encoder by its number of layers or its name;
SDXL's ControlNet has a fixed size. This script replaces these numbers by the tiny model's. The code is theirs.
POST /anyms-probe/refresh-controlnet looks for model files again.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path

from modules import paths, script_callbacks

SIZES = json.loads((Path(__file__).parents[1] / "tiny.json").read_text(encoding="utf-8"))["families"]["tiny"]
SDXL_TEXT, TINY_TEXT = 2048, 80  # channels


def encoder_file() -> Path:
    return Path(paths.models_path) / "clip_vision" / "tiny-vit.safetensors"


def vision_config() -> dict:
    from safetensors import safe_open

    with safe_open(str(encoder_file()), "pt") as file:
        return json.loads(file.metadata()["anyms.vision_config"])


def takes_tiny_for_sdxl(method) -> None:
    """Replace the constant in the host's own function."""
    function = getattr(method, "__func__", method)
    constants = function.__code__.co_consts
    assert constants.count(SDXL_TEXT) == 1
    constants_of_tiny = tuple(TINY_TEXT if type(each) is int and each == SDXL_TEXT else each for each in constants)
    function.__code__ = function.__code__.replace(co_consts=constants_of_tiny)


# -- Forge's family ----------------------------------------------------------------------------------------------------


def own_encoder():
    """The host's class; it takes a dict if the host has backend/, else a file's path."""
    from safetensors.torch import load_file

    if "backend.patcher.clipvision" in sys.modules:
        clip = sys.modules["backend.patcher.clipvision"]
        model = clip.ClipVisionModel({**clip.CLIP_VISION_VITL, **vision_config()})
    else:
        clip = importlib.import_module("ldm_patched.modules.clip_vision")
        default = json.loads(Path(clip.__file__).with_name("clip_vision_config_vitl.json").read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.json"
            config.write_text(json.dumps({**default, **vision_config()}), encoding="utf-8")
            model = clip.ClipVisionModel(str(config))
    model.load_sd(load_file(encoder_file()))
    return model


def teach_forge() -> None:
    shared = sys.modules["modules_forge.shared"]
    numpy_to_pytorch = next(
        sys.modules[name].numpy_to_pytorch
        for name in ("modules_forge.forge_util", "modules_forge.utils")
        if name in sys.modules
    )

    class TinyClip(sys.modules["modules_forge.supported_preprocessor"].Preprocessor):
        def __init__(self) -> None:
            super().__init__()
            self.name = "AnyMS test CLIP"
            self.model = None

        def __call__(self, input_image, resolution, slider_1=None, slider_2=None, slider_3=None, **_):
            self.model = self.model or own_encoder()
            image = numpy_to_pytorch(input_image)
            return {"clip_vision": self.model, "image": image, "weight_type": "original", "noise": 0.0, "embeds": None}

    shared.add_supported_preprocessor(TinyClip())
    takes_tiny_for_sdxl(sys.modules["lib_ipadapter.IPAdapterPlus"].IPAdapterApply.apply_ipadapter)


# -- sd-webui-controlnet -----------------------------------------------------------------------------------------------


def teach_sd_webui_controlnet() -> None:
    """Keep its preprocessor "ip-adapter_clip_h": the tiny encoder is where it would download its own."""
    import torch
    from safetensors.torch import load_file

    known = sys.modules["scripts.controlnet_model_guess"].controlnet_sdxl_config
    known.update({name: value for name, value in SIZES["unet"].items() if name in known})
    takes_tiny_for_sdxl(sys.modules["scripts.ipadapter.ipadapter_model"].IPAdapterModel.load)
    clip = importlib.import_module("annotator.clipvision")
    clip.configs["clip_h"].update(vision_config())
    target = Path(clip.models_path) / "clip_vision" / "clip_h.pth"
    target.parent.mkdir(parents=True, exist_ok=True)
    # A1111 refuses the entries that newer versions of torch add to a zip.
    torch.save(load_file(encoder_file()), target, _use_new_zipfile_serialization=False)


def refresh_controlnet() -> dict:
    if "lib_controlnet.global_state" in sys.modules:
        sys.modules["lib_controlnet.global_state"].update_controlnet_filenames()
    else:
        sys.modules["scripts.global_state"].update_cn_models()
    return {}


def on_app(_demo, app) -> None:
    app.add_api_route("/anyms-probe/refresh-controlnet", refresh_controlnet, methods=["POST"])
    if "lib_ipadapter.IPAdapterPlus" in sys.modules:
        teach_forge()
    if "scripts.controlnet_model_guess" in sys.modules:
        teach_sd_webui_controlnet()


script_callbacks.on_app_started(on_app)
