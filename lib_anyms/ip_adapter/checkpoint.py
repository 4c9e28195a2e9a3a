"""An IP-Adapter file described from its header: its kind, its sizes and where its parts lie. By shapes, never by file
name.

`base` spreads one image embedding over T tokens, `plus` gathers T tokens from the encoder's hidden states. Many files
have an IP-Adapter's keys, or some of them, and would load without an error: the tables below know them. Whether the
sizes fit the loaded UNet is decided against that UNet (model_files.py), so no size of SDXL stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.projection import HEAD_WIDTH
from lib_anyms.tensor_files.tensor_file import open_tensors

Shapes = Mapping[str, tuple[int, ...]]

PROJECTION_PREFIXES = ("image_proj.", "image_proj_model.")  # the second of each as the training scripts save
LAYER_PREFIXES = ("ip_adapter.", "adapter_modules.")

# Files that are something else, by a key's name; the first row that matches any key wins.
LOOK_ALIKE_KEYS = (
    ("adapter_faceid", r"(^|\.)[0-9]+\.to_(q|k|v|out)_lora\."),
    ("adapter_lora", r"(^|[._])lora_(down|up|A|B)\.|\.lora\.(down|up)\.|_lora\.(down|up)\.|\.(hada_w|lokr_w)[12]"),
    ("adapter_photomaker", r"^lora_weights\."),
    ("adapter_pulid", r"(^|\.)(pulid|id_|mapping_)"),
    ("adapter_flux", r"(^|\.)(double_blocks|single_blocks|ip_adapter_(double|single)_stream|ip_adapter_proj_model)"),
    ("adapter_transformer", r"^(ip_adapter|adapter_modules)\.[0-9]*[02468]\.to_(k|v)_ip\."),
    ("adapter_full_face", r"^image_proj(_model)?\.proj\.3\."),
    ("adapter_portrait", r"^image_proj(_model)?\.(proj\.[02]|perceiver_resampler)\."),
    ("adapter_controlnet", r"(^|\.)(input_hint_block|zero_convs|controlnet_(cond_embedding|down_blocks))\."),
    (
        "adapter_whole_model",
        r"^(model\.diffusion_model|first_stage_model|conditioner|cond_stage_model|down_blocks|conv_in)\.",
    ),
    ("adapter_encoder", r"^(vision_model|visual|text_model|visual_projection)\."),
)
# The same by a size of the projection, for those that only a size tells: cause, name, axis, size.
LOOK_ALIKE_SIZES = (
    ("adapter_instantid", "proj_in.weight", 1, 512),  # the vector of a face recognition model
    ("adapter_kolors", "latents", 2, 2048),
)

# The parts of each projection: name -> its axes. A letter is a size, the same wherever it stands: C image tokens'
# width, E encoder's width, R = T * C, T tokens, D resampler's width, H its heads together, F its feed-forward's width.
BASE = {"norm.weight": "C", "norm.bias": "C", "proj.weight": "R E", "proj.bias": "R"}
PLUS = {
    "latents": "1 T D",
    "proj_in.weight": "D E",
    "proj_in.bias": "D",
    "proj_out.weight": "C D",
    "proj_out.bias": "C",
    "norm_out.weight": "C",
    "norm_out.bias": "C",
}
PLUS_LAYER = {
    "0.norm1.weight": "D",
    "0.norm1.bias": "D",
    "0.norm2.weight": "D",
    "0.norm2.bias": "D",
    "0.to_q.weight": "H D",
    "0.to_kv.weight": "2H D",
    "0.to_out.weight": "D H",
    "1.0.weight": "D",
    "1.0.bias": "D",
    "1.1.weight": "F D",
    "1.3.weight": "D F",
}
_PLUS_NUMBER = re.compile(r"layers\.(0|[1-9][0-9]{0,3})\.")
_LAYER_KEY = re.compile(r"(0|[1-9][0-9]{0,5})\.(to_k_ip|to_v_ip)\.weight")


@dataclass(frozen=True)
class AdapterLayer:
    """One cross-attention layer's weights: keys of to_k_ip and to_v_ip, both (width, context_width)."""

    number: int
    key_name: str
    value_name: str
    width: int


@dataclass(frozen=True)
class AdapterCheckpoint:
    """An IP-Adapter for a UNet. `encoder_width` is the projected width for base, the hidden width for plus.

    `layers` are in the order of their numbers 1, 3, 5, ...; `projection` maps a part's name ("proj.weight") to the
    file's key.
    """

    path: Path
    kind: str
    tokens: int
    encoder_width: int
    context_width: int
    layers: tuple[AdapterLayer, ...]
    projection: Mapping[str, str]


def read_adapter(path: Path) -> AdapterCheckpoint:
    """What the file's header says; no tensor is read. Raises Refused with what the file is instead."""
    with open_tensors(path) as file:
        return identify(path, file.shapes)


def identify(path: Path, shapes: Shapes) -> AdapterCheckpoint:
    """The adapter that consists of tensors of these names and shapes. Raises Refused."""
    for cause, pattern in LOOK_ALIKE_KEYS:
        found = next(filter(re.compile(pattern).search, shapes), None)
        if found is not None:
            raise Refused(cause, path=path.name, got=found)
    projection, layers = _part(shapes, PROJECTION_PREFIXES), _part(shapes, LAYER_PREFIXES)
    if not projection and not layers:
        raise Refused("adapter_none", path=path.name, got=next(iter(shapes), "no tensor at all"))
    for cause, name, axis, size in LOOK_ALIKE_SIZES:
        shape = shapes.get(projection.get(name, ""), ())
        if shape[axis : axis + 1] == (size,):
            raise Refused(cause, path=path.name, got=f"{name} of {size}")
    kind, schema = _schema(path, projection)
    _check_names(path, projection, schema)
    sizes = _sizes(path, {projection[name]: axes for name, axes in schema.items()}, shapes)
    tokens = sizes["T"] if kind == "plus" else sizes["R"] // sizes["C"]
    for what, letter, unit in (("rows of proj.weight", "R", sizes["C"]), ("rows of to_q", "H", HEAD_WIDTH)):
        if sizes.get(letter, unit) % unit:
            raise Refused(
                "adapter_shapes", path=path.name, what=what, got=sizes[letter], expected=f"a multiple of {unit}"
            )
    return AdapterCheckpoint(
        path, kind, tokens, sizes["E"], sizes["C"], _layers(path, layers, shapes, sizes["C"]), projection
    )


def _part(shapes: Shapes, prefixes: tuple[str, ...]) -> dict[str, str]:
    """The keys under the first of the prefixes that the file has: name without prefix -> key."""
    for prefix in prefixes:
        names = {key[len(prefix) :]: key for key in shapes if key.startswith(prefix)}
        if names:
            return names
    return {}


def _schema(path: Path, projection: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The kind that these parts belong to, and all parts it must have."""
    if not projection:
        raise Refused("adapter_truncated", path=path.name, got="image_proj")
    if BASE.keys() & projection.keys():
        return "base", BASE
    last = max((int(match[1]) for match in map(_PLUS_NUMBER.match, projection) if match), default=0)
    deep = {f"layers.{i}.{name}": axes for i in range(last + 1) for name, axes in PLUS_LAYER.items()}
    return "plus", {**PLUS, **deep}


def _check_names(path: Path, projection: Mapping[str, str], schema: Mapping[str, str]) -> None:
    """A part too many would silently be left out of the mathematics, so it is refused like one too few."""
    for name, key in projection.items():
        if name not in schema:
            raise Refused("adapter_variant", path=path.name, got=key)
    for name in schema:
        if name not in projection:
            raise Refused("adapter_truncated", path=path.name, got=name)


def _sizes(path: Path, expected: Mapping[str, str], shapes: Shapes, **known: int) -> dict[str, int]:
    """What the letters stand for, read off the shapes; every later place of a letter must agree with its first."""
    sizes = dict(known)
    for key, axes in expected.items():
        shape, symbols = shapes[key], axes.split()
        agreed = len(shape) == len(symbols)
        for symbol, size in zip(symbols, shape):
            letter = symbol.lstrip("12")
            factor = int(symbol[: len(symbol) - len(letter)] or 1)
            agreed = (
                agreed and size >= 1 and size == factor * (sizes.setdefault(letter, size // factor) if letter else 1)
            )
        if not agreed:
            wanted = " x ".join(f"{symbol} ({sizes[symbol]})" if symbol in sizes else symbol for symbol in symbols)
            raise Refused("adapter_shapes", path=path.name, what=key, got=" x ".join(map(str, shape)), expected=wanted)
    return sizes


def _layers(path: Path, names: Mapping[str, str], shapes: Shapes, context: int) -> tuple[AdapterLayer, ...]:
    """The layers by number; files list them as text: 1, 101, 103, ..."""
    found: dict[int, dict[str, str]] = {}
    for name, key in names.items():
        match = _LAYER_KEY.fullmatch(name)
        if match is None:
            raise Refused("adapter_variant", path=path.name, got=key)
        found.setdefault(int(match[1]), {})[match[2]] = key
    layers = []
    for number in range(1, 2 * max(1, len(found)), 2):
        pair = found.get(number, {})
        for part in ("to_k_ip", "to_v_ip"):
            if part not in pair:
                raise Refused("adapter_truncated", path=path.name, got=f"{number}.{part}")
        sizes = _sizes(path, dict.fromkeys((pair["to_k_ip"], pair["to_v_ip"]), "W C"), shapes, C=context)
        layers.append(AdapterLayer(number, pair["to_k_ip"], pair["to_v_ip"], sizes["W"]))
    return tuple(layers)
