"""The tiny random SDXL in a host's data folder: weights where users put them, and what makes the host read them at that size."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lib_anyms.standalone.pipeline import write_configs
from lib_anyms.standalone.random_sdxl import RandomFiles, write_random_sdxl
from lib_anyms.standalone.structure import TINY, Structure, TextEncoder, forge_unet_config, ldm_unet_config, ldm_vae_config

PROBE = Path(__file__).parent / "probe"
ARCHITECTURE = "anyms-tiny"  # the second text encoder's name in open_clip


def install(host: str, data: Path, structure: Structure = TINY) -> RandomFiles:
    """Write models and the probe extension for `host` ("a1111" or "forge") below `data`."""
    models = data / "models"
    with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
        made = write_random_sdxl(Path(folder), structure)
        placed = RandomFiles(
            checkpoint=_move(made.checkpoint, models / "Stable-diffusion" / "tiny.safetensors"),
            encoder=_move(made.encoder, models / "clip_vision" / "tiny-vit.safetensors"),
            adapters={
                "base": _move(made.adapters["base"], models / "ipadapter" / "tiny-base.safetensors"),
                "plus": _move(made.adapters["plus"], models / "ControlNet" / "tiny-plus.safetensors"),
            },
        )
    extension = data / "extensions" / "anyms-probe"
    shutil.copytree(PROBE, extension, ignore=shutil.ignore_patterns("__pycache__"))
    told = {"a1111": _for_a1111, "forge": _for_forge}[host](extension, placed.checkpoint, structure)
    _write(extension / "tiny.json", {"host": host, **told})
    return placed


def _for_a1111(extension: Path, checkpoint: Path, structure: Structure) -> dict[str, Any]:
    """A yaml beside the checkpoint, a folder for CLIP-L, a description of the second encoder for open_clip."""
    configs, clip = extension / "configs", extension / "clip-l"
    write_configs(configs, structure)
    shutil.copytree(configs / "tokenizer", clip)
    shutil.copy(configs / "text_encoder" / "config.json", clip)
    architecture = extension / "open_clip" / f"{ARCHITECTURE}.json"
    _write(architecture, _open_clip_config(structure.text_2))
    _write(checkpoint.with_suffix(".yaml"), _sgm_config(structure, clip))  # YAML understands JSON
    return {"open_clip": str(architecture.parent)}


def _for_forge(extension: Path, _checkpoint: Path, structure: Structure) -> dict[str, Any]:
    repository = extension / "repository"
    write_configs(repository, structure)
    return {"repository": str(repository), "unet": forge_unet_config(structure)}


def _open_clip_config(text: TextEncoder) -> dict[str, Any]:
    """The image half is thrown away when the model is built."""
    words = {"context_length": 77, "vocab_size": 49408, "width": text.hidden, "heads": text.heads, "layers": text.layers}
    pictures = {"image_size": 32, "patch_size": 32, "layers": 1, "width": 32, "head_width": 32}
    return {"embed_dim": text.projection, "text_cfg": words, "vision_cfg": pictures}


def _sgm_config(structure: Structure, clip: Path) -> dict[str, Any]:
    """SDXL's own yaml with this structure's sizes."""
    diffusion = "sgm.modules.diffusionmodules"
    denoiser = {
        "num_idx": 1000,
        "weighting_config": {"target": f"{diffusion}.denoiser_weighting.EpsWeighting"},
        "scaling_config": {"target": f"{diffusion}.denoiser_scaling.EpsScaling"},
        "discretization_config": {"target": f"{diffusion}.discretizer.LegacyDDPMDiscretization"},
    }
    vae = {"embed_dim": 4, "monitor": "val/rec_loss", "ddconfig": ldm_vae_config(structure)}
    engine = {
        "scale_factor": 0.13025,
        "disable_first_stage_autocast": True,
        "denoiser_config": _part(f"{diffusion}.denoiser.DiscreteDenoiser", denoiser),
        "network_config": _part(f"{diffusion}.openaimodel.UNetModel", ldm_unet_config(structure)),
        "conditioner_config": _part("sgm.modules.GeneralConditioner", {"emb_models": _embedders(structure, clip)}),
        "first_stage_config": _part(
            "sgm.models.autoencoder.AutoencoderKLInferenceWrapper", {**vae, "lossconfig": {"target": "torch.nn.Identity"}}
        ),
    }
    return {"model": _part("sgm.models.diffusion.DiffusionEngine", engine)}


def _embedders(structure: Structure, clip: Path) -> list[dict[str, Any]]:
    encoders = "sgm.modules.encoders.modules"
    first = {"version": str(clip), "layer": "hidden", "layer_idx": structure.text_1.layers - 1}
    second = {"arch": ARCHITECTURE, "version": "none", "freeze": True, "layer": "penultimate"}
    sizes = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
    return [
        {"input_key": "txt", "is_trainable": False, **_part(f"{encoders}.FrozenCLIPEmbedder", first)},
        {
            "input_key": "txt",
            "is_trainable": False,
            **_part(f"{encoders}.FrozenOpenCLIPEmbedder2", {**second, "always_return_pooled": True, "legacy": False}),
        },
        *(
            {"input_key": key, "is_trainable": False, **_part(f"{encoders}.ConcatTimestepEmbedderND", {"outdim": 256})}
            for key in sizes
        ),
    ]


def _part(target: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"target": target, "params": params}


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(source, target))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
