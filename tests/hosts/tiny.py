"""Small SDXLs in a host's data folder: the weights, and files that make the host accept their size."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lib_anyms.standalone.pipeline import write_configs
from lib_anyms.standalone.random_sdxl import RandomFiles, write_random_sdxl
from lib_anyms.standalone.structure import (
    SPRITES,
    TINY,
    Structure,
    TextEncoder,
    forge_unet_config,
    ldm_unet_config,
    ldm_vae_config,
)

PROBE = Path(__file__).parent / "probe"
FAMILIES = {"tiny": TINY, "sprites": SPRITES}  # every host here learns to read them
READ_A_YAML = ("a1111", "reforge", "forge_classic")  # beside the checkpoint


def install(host: str, data: Path, family: str = "tiny", files: RandomFiles | None = None) -> RandomFiles:
    """Write the probe extension for `host` (see kinds.py) into `data`, and a model as `place` does."""
    extension = _extension(data)
    shutil.copytree(PROBE, extension, ignore=shutil.ignore_patterns("__pycache__"))
    families = {name: _TEACH[host](extension / name, name) for name in FAMILIES}
    _write(extension / "tiny.json", {"host": host, "families": families})
    return place(host, data, family, files)


def place(
    host: str, data: Path, family: str = "tiny", files: RandomFiles | None = None, name: str | None = None
) -> RandomFiles:
    """Copy a model of `family` into the model folders of `host`; without `files` its weights are random.

    `name` names the checkpoint and starts the other files' names. Default: the family's name.
    """
    name, models = name or family, data / "models"
    with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
        sources = files or write_random_sdxl(Path(folder), FAMILIES[family])
        placed = RandomFiles(
            checkpoint=_copy(sources.checkpoint, models / "Stable-diffusion" / f"{name}.safetensors"),
            encoder=_copy(sources.encoder, models / "clip_vision" / f"{name}-vit.safetensors"),
            adapters={
                "base": _copy(sources.adapters["base"], models / "ipadapter" / f"{name}-base.safetensors"),
                "plus": _copy(sources.adapters["plus"], models / "ControlNet" / f"{name}-plus.safetensors"),
            },
        )
    if host in READ_A_YAML:
        config = _sgm_config(FAMILIES[family], _clip(_extension(data) / family), _architecture(family))
        _write(_yaml(placed), config)  # YAML understands JSON
    return placed


def remove(placed: RandomFiles) -> None:
    """Undo `place`."""
    for path in (placed.checkpoint, placed.encoder, *placed.adapters.values()):
        path.unlink()
    _yaml(placed).unlink(missing_ok=True)


def _for_a1111(folder: Path, family: str) -> dict[str, Any]:
    """A folder for CLIP-L, and open_clip's description of the second encoder; the rest is in the checkpoint's yaml."""
    structure, configs = FAMILIES[family], folder / "configs"
    write_configs(configs, structure)
    shutil.copytree(configs / "tokenizer", _clip(folder))
    shutil.copy(configs / "text_encoder" / "config.json", _clip(folder))
    architecture = folder / "open_clip" / f"{_architecture(family)}.json"
    _write(architecture, _open_clip_config(structure.text_2))
    return {"open_clip": str(architecture.parent), "unet": ldm_unet_config(structure)}


def _for_forge(folder: Path, family: str) -> dict[str, Any]:
    repository = folder / "repository"
    write_configs(repository, FAMILIES[family])
    return {"repository": str(repository), "unet": forge_unet_config(FAMILIES[family])}


def _for_ldm_patched(folder: Path, family: str) -> dict[str, Any]:
    """The host reads the UNet's size from the weights; the text encoders' and the VAE's are in the yaml."""
    structure, configs = FAMILIES[family], folder / "configs"
    write_configs(configs, structure)
    texts = [str(configs / name / "config.json") for name in ("text_encoder", "text_encoder_2")]
    return {"unet": forge_unet_config(structure), "texts": texts, "vae": ldm_vae_config(structure)}


_TEACH = {
    "a1111": _for_a1111,
    "forge": _for_forge,
    "reforge": _for_ldm_patched,
    "forge_classic": _for_ldm_patched,
    "forge_neo": _for_forge,
}


def _extension(data: Path) -> Path:
    return data / "extensions" / "anyms-probe"


def _clip(folder: Path) -> Path:
    return folder / "clip-l"


def _architecture(family: str) -> str:
    """The second text encoder's name in open_clip."""
    return f"anyms-{family}"


def _yaml(placed: RandomFiles) -> Path:
    return placed.checkpoint.with_suffix(".yaml")


def _open_clip_config(text: TextEncoder) -> dict[str, Any]:
    """The image half; the host removes it when it builds the model."""
    words = {
        "context_length": 77,
        "vocab_size": 49408,
        "width": text.hidden,
        "heads": text.heads,
        "layers": text.layers,
    }
    pictures = {"image_size": 32, "patch_size": 32, "layers": 1, "width": 32, "head_width": 32}
    return {"embed_dim": text.projection, "text_cfg": words, "vision_cfg": pictures}


# A1111 reads v-prediction from VScaling in the yaml; Forge, from a weight named v_pred in the checkpoint.
_PREDICTS = {"epsilon": "Eps", "v_prediction": "V"}


def _sgm_config(structure: Structure, clip: Path, architecture: str) -> dict[str, Any]:
    """SDXL's own yaml with this structure's sizes and prediction."""
    diffusion = "sgm.modules.diffusionmodules"
    predicts = _PREDICTS[structure.prediction]
    denoiser = {
        "num_idx": 1000,
        "weighting_config": {"target": f"{diffusion}.denoiser_weighting.{predicts}Weighting"},
        "scaling_config": {"target": f"{diffusion}.denoiser_scaling.{predicts}Scaling"},
        "discretization_config": {"target": f"{diffusion}.discretizer.LegacyDDPMDiscretization"},
    }
    vae = {"embed_dim": 4, "monitor": "val/rec_loss", "ddconfig": ldm_vae_config(structure)}
    engine = {
        "scale_factor": 0.13025,
        "disable_first_stage_autocast": True,
        "denoiser_config": _part(f"{diffusion}.denoiser.DiscreteDenoiser", denoiser),
        "network_config": _part(f"{diffusion}.openaimodel.UNetModel", ldm_unet_config(structure)),
        "conditioner_config": _part(
            "sgm.modules.GeneralConditioner", {"emb_models": _embedders(structure, clip, architecture)}
        ),
        "first_stage_config": _part(
            "sgm.models.autoencoder.AutoencoderKLInferenceWrapper",
            {**vae, "lossconfig": {"target": "torch.nn.Identity"}},
        ),
    }
    return {"model": _part("sgm.models.diffusion.DiffusionEngine", engine)}


def _embedders(structure: Structure, clip: Path, architecture: str) -> list[dict[str, Any]]:
    encoders = "sgm.modules.encoders.modules"
    first = {"version": str(clip), "layer": "hidden", "layer_idx": structure.text_1.layers - 1}
    second = {"arch": architecture, "version": "none", "freeze": True, "layer": "penultimate"}
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


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, target))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
