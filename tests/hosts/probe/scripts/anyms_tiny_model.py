"""Test only: teaches the host to load small SDXL families. It runs inside the host, before a model is loaded.

`tiny.json` beside this folder, written by tests/hosts/tiny.py, says how large the models are.
"""

from __future__ import annotations

import json
from pathlib import Path

TOLD = json.loads((Path(__file__).parents[1] / "tiny.json").read_text(encoding="utf-8"))


def teach_a1111(family: dict) -> None:
    """A1111 reads the sizes from the yaml beside the checkpoint; open_clip must know the second text encoder's by a name."""
    import open_clip

    open_clip.add_model_config(Path(family["open_clip"]))


def teach_forge(family: dict) -> None:
    """Forge tells the family from the weights: one more family, asked first."""
    from huggingface_guess import model_list

    unet = family["unet"]

    class SmallSDXL(model_list.SDXL):
        huggingface_repo = family["repository"]  # joined to Forge's own folder, so an absolute path stays what it is
        unet_config = {name: unet[name] for name in model_list.SDXL.unet_config}
        unet_extra_config = {name: unet[name] for name in ("num_heads", "num_head_channels")}

    model_list.models.insert(0, SmallSDXL)


for told in TOLD["families"].values():
    {"a1111": teach_a1111, "forge": teach_forge}[TOLD["host"]](told)
