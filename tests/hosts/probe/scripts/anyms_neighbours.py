"""Test only: lets Forge's own ControlNet and IP-Adapter work with the tiny model. Elsewhere it does nothing.

Forge tells SDXL's IP-Adapter by a text of 2048 channels and an image encoder by its number of layers; both are told the tiny
model's. The code that computes is Forge's own. POST /anyms-probe/refresh-controlnet looks for its model files again.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

from modules import paths, script_callbacks


def teach_forge() -> None:
    from backend.patcher import clipvision
    from lib_ipadapter import IPAdapterPlus
    from modules_forge.shared import add_supported_preprocessor
    from modules_forge.utils import numpy_to_pytorch
    from safetensors import safe_open
    from safetensors.torch import load_file

    folder = Path(paths.models_path)

    class TinyClip(sys.modules["modules_forge.supported_preprocessor"].Preprocessor):
        def __init__(self) -> None:
            super().__init__()
            self.name = "AnyMS test CLIP"
            self.model = None

        def __call__(self, input_image, resolution, slider_1=None, slider_2=None, slider_3=None, **_):
            if self.model is None:
                encoder = folder / "clip_vision" / "tiny-vit.safetensors"
                with safe_open(str(encoder), "pt") as file:
                    config = json.loads(file.metadata()["anyms.vision_config"])
                self.model = clipvision.ClipVisionModel({**clipvision.CLIP_VISION_VITL, **config})
                self.model.load_sd(load_file(encoder))
            image = numpy_to_pytorch(input_image)
            return {"clip_vision": self.model, "image": image, "weight_type": "original", "noise": 0.0, "embeds": None}

    add_supported_preprocessor(TinyClip())
    apply = IPAdapterPlus.IPAdapterApply
    source = inspect.cleandoc("\n" + inspect.getsource(apply.apply_ipadapter))
    assert source.count("== 2048") == 1
    exec(source.replace("== 2048", "== 80"), vars(IPAdapterPlus))
    apply.apply_ipadapter = vars(IPAdapterPlus).pop("apply_ipadapter")
    for patcher in sys.modules["modules_forge.shared"].supported_control_models:
        if patcher.__name__ == "IPAdapterPatcher":
            patcher.process_before_every_sampling.__globals__["opIPAdapterApply"] = apply().apply_ipadapter


def refresh_controlnet() -> dict:
    sys.modules["lib_controlnet.global_state"].update_controlnet_filenames()
    return {}


def on_app(_demo, app) -> None:
    app.add_api_route("/anyms-probe/refresh-controlnet", refresh_controlnet, methods=["POST"])
    if "backend.patcher.clipvision" in sys.modules and "lib_ipadapter.IPAdapterPlus" in sys.modules:
        teach_forge()


script_callbacks.on_app_started(on_app)
