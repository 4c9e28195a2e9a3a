"""Test only: makes the host load small SDXL families. It runs inside the host, before a model is loaded.

`tiny.json` beside this folder, written by tests/hosts/tiny.py, has the models' sizes.
"""

from __future__ import annotations

import json
from pathlib import Path

SIZES = json.loads((Path(__file__).parents[1] / "tiny.json").read_text(encoding="utf-8"))


def teach_a1111(family: dict) -> None:
    """A1111 reads sizes from the checkpoint's yaml, but the second text encoder's from open_clip, by a name."""
    import open_clip

    open_clip.add_model_config(Path(family["open_clip"]))


def small_unet(sdxl: type, unet: dict) -> dict:
    """The differences in the class body of a small SDXL; the host recognises the family by its weights."""
    heads = {name: unet[name] for name in ("num_heads", "num_head_channels")}
    return {"unet_config": {name: unet[name] for name in sdxl.unet_config}, "unet_extra_config": heads}


def teach_forge(family: dict) -> type:
    """Add a family before the others. Its folder is joined to Forge's, so an absolute path stays as it is."""
    from huggingface_guess import model_list

    body = {"huggingface_repo": family["repository"], **small_unet(model_list.SDXL, family["unet"])}
    small = type("SmallSDXL", (model_list.SDXL,), body)
    model_list.models.insert(0, small)
    return small


def teach_forge_neo(family: dict) -> None:
    """Its engine accepts only the classes it knows; its ControlNet uses another import of the same module."""
    from backend.diffusion_engine.sdxl import StableDiffusionXL
    from modules_forge.packages.huggingface_guess import model_list

    small = teach_forge(family)
    StableDiffusionXL.matched_guesses.append(small)
    model_list.models.insert(0, small)


def teach_ldm_patched(family: dict) -> None:
    """The same, with text encoders built as its SDXL's, from other files. The host recognises the VAE."""
    import torch
    from ldm_patched.modules import sd1_clip, sdxl_clip, supported_models, supported_models_base
    from modules_forge import forge_loader

    class SmallClip(sdxl_clip.SDXLClipModel):
        def __init__(self, device="cpu", dtype=None, **_options) -> None:
            torch.nn.Module.__init__(self)
            options = {
                "layer": "hidden",
                "layer_idx": 1,
                "device": device,
                "dtype": dtype,
                "layer_norm_hidden_state": False,
            }
            first, second = family["texts"]
            ends = {"start": 49406, "end": 49407, "pad": 0}
            self.clip_l = sd1_clip.SDClipModel(textmodel_json_config=first, **options)
            self.clip_g = sd1_clip.SDClipModel(textmodel_json_config=second, special_tokens=ends, **options)
            self.dtypes = {dtype} - {None}

    def clip_target(_self, state_dict=None):
        return supported_models_base.ClipTarget(sdxl_clip.SDXLTokenizer, SmallClip)

    sdxl = supported_models.SDXL
    small = type("SmallSDXL", (sdxl,), {"clip_target": clip_target, **small_unet(sdxl, family["unet"])})
    supported_models.models.insert(0, small)
    known = forge_loader.VAE

    class SmallVAE(known):
        def __init__(self, sd=None, **arguments) -> None:
            first = (sd or {}).get("encoder.conv_in.weight")
            if first is not None and first.shape[0] == family["vae"]["ch"]:
                arguments["config"] = {"params": {"ddconfig": dict(family["vae"]), "embed_dim": 4}}
            super().__init__(sd=sd, **arguments)

    forge_loader.VAE = SmallVAE


TEACH = {
    "a1111": teach_a1111,
    "forge": teach_forge,
    "reforge": teach_ldm_patched,
    "forge_classic": teach_ldm_patched,
    "forge_neo": teach_forge_neo,
}
for sizes in SIZES["families"].values():
    TEACH[SIZES["host"]](sizes)
