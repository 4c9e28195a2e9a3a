"""Small SDXLs in a host's data folder: weights where users put them, and what makes the host read them at their size."""

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
FAMILIES = {"tiny": TINY, "sprites": SPRITES}  # what every host here is taught to read
READ_A_YAML = ("a1111", "reforge", "forge_classic")  # beside the checkpoint


def install(host: str, data: Path, family: str = "tiny", files: RandomFiles | None = None) -> RandomFiles:
    """Write the probe extension for `host` (see kinds.py) below `data`, and a model as `place` does."""
    extension = _extension(data)
    shutil.copytree(PROBE, extension, ignore=shutil.ignore_patterns("__pycache__"))
    told = {name: _TEACH[host](extension / name, name) for name in FAMILIES}
    _write(extension / "tiny.json", {"host": host, "families": told})
    return place(host, data, family, files)


def place(
    host: str, data: Path, family: str = "tiny", files: RandomFiles | None = None, name: str | None = None
) -> RandomFiles:
    """Copy a model of that family to where users of `host` put theirs, random where no files are given.

    `name` is the checkpoint's and starts the other files'; as the family's, where none is given.
    """
    name, models = name or family, data / "models"
    with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
        made = files or write_random_sdxl(Path(folder), FAMILIES[family])
        placed = RandomFiles(
            checkpoint=_copy(made.checkpoint, models / "Stable-diffusion" / f"{name}.safetensors"),
            encoder=_copy(made.encoder, models / "clip_vision" / f"{name}-vit.safetensors"),
            adapters={
                "base": _copy(made.adapters["base"], models / "ipadapter" / f"{name}-base.safetensors"),
                "plus": _copy(made.adapters["plus"], models / "ControlNet" / f"{name}-plus.safetensors"),
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
    """A folder for CLIP-L, a description of the second encoder for open_clip; the rest is the yaml beside a checkpoint."""
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
    """The UNet is told from the weights, both text encoders' sizes and the VAE's are not; the rest is the yaml."""
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
    """The image half is thrown away when the model is built."""
    words = {
        "context_length": 77,
        "vocab_size": 49408,
        "width": text.hidden,
        "heads": text.heads,
        "layers": text.layers,
    }
    pictures = {"image_size": 32, "patch_size": 32, "layers": 1, "width": 32, "head_width": 32}
    return {"embed_dim": text.projection, "text_cfg": words, "vision_cfg": pictures}


# A1111 takes a UNet to predict v if its yaml names VScaling; Forge, if the checkpoint holds a weight named v_pred.
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
