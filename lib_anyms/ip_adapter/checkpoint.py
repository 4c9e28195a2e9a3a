"""Describe an IP-Adapter file from its header: kind, sizes and keys. Shapes decide, never the file name.

`base` spreads one image embedding over T tokens; `plus` gathers T tokens from the encoder's hidden states. Many other
files have some or all of an IP-Adapter's keys and would load without an error: the tables below recognise them.
model_files.py checks the sizes against the loaded UNet, so this file contains no size of SDXL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.projection import HEAD_WIDTH
from lib_anyms.tensor_files.tensor_file import TensorFile, open_tensors, refuse_quantised

Shapes = Mapping[str, tuple[int, ...]]

PROJECTION_PREFIXES = ("image_proj.", "image_proj_model.")  # the second of each: written by training scripts
LAYER_PREFIXES = ("ip_adapter.", "adapter_modules.")

# Other files, recognised by a key's name: cause, pattern. The first pattern that matches any key decides.
LOOK_ALIKE_KEYS = (
    ("adapter_anima", r"(^|\.)blocks\.[0-9]+\.([\w.]+\.)?ip_[kv]_proj\."),
    ("adapter_storymaker", r"^image_proj(_model)?\.(bg_embed|resample\.)"),
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
# Other files, recognised by a size of the projection: cause, name, axis, size.
LOOK_ALIKE_SIZES = (
    ("adapter_instantid", "proj_in.weight", 1, 512),  # the vector of a face recognition model
    ("adapter_kolors", "latents", 2, 2048),
)

# The parts of each projection: name -> its axes. A letter stands for one size everywhere: C width of the image tokens,
# E width of the encoder, T tokens, R = T * C, D width of the resampler, H width of its heads, F of its feed-forward.
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
_WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # of DataParallel and torch.compile
_TRAINED = re.compile(r"^(unet\.)?[\w.]+\.processor\.to_[kv]_ip\.")  # a training's checkpoint, by the layer's place
PART_OF_FILE = re.compile(r"-(\d{3,5})-of-(\d{3,5})(?!\d)")
_PLUS_NUMBER = re.compile(r"layers\.(0|[1-9][0-9]{0,3})\.")
_LAYER_KEY = re.compile(r"(0|[1-9][0-9]{0,5})\.(to_k_ip|to_v_ip)\.weight")


@dataclass(frozen=True)
class AdapterLayer:
    """One cross-attention layer: the file's keys of to_k_ip and to_v_ip, both (width, context_width)."""

    number: int
    key_name: str
    value_name: str
    width: int


@dataclass(frozen=True)
class AdapterCheckpoint:
    """An IP-Adapter for a UNet. `encoder_width`: projected width for base, hidden width for plus.

    `layers` are ordered by their numbers 1, 3, 5, ...; `projection` maps a part's name ("proj.weight") to its key
    in the file. `eight_bit`: some weights are stored in eight bits.
    """

    path: Path
    kind: str
    tokens: int
    encoder_width: int
    context_width: int
    layers: tuple[AdapterLayer, ...]
    projection: Mapping[str, str]
    eight_bit: bool = False

    @property
    def keys(self) -> list[str]:
        """The keys of all its tensors in the file."""
        layers = [key for layer in self.layers for key in (layer.key_name, layer.value_name)]
        return [*self.projection.values(), *layers]


def read_adapter(path: Path) -> AdapterCheckpoint:
    """Read a file's header, no tensor. Raises Refused, which names the kind of any other file."""
    with open_tensors(path) as file:
        return checked_adapter(file)


def checked_adapter(file: TensorFile) -> AdapterCheckpoint:
    """The adapter in an open file, its weights plain floating-point numbers. Raises Refused."""
    adapter = identify(file.path, file.shapes)
    return replace(adapter, eight_bit=file.check_weights(adapter.keys))


def identify(path: Path, shapes: Shapes) -> AdapterCheckpoint:
    """Describe the adapter with tensors of these names and shapes. Raises Refused."""
    keys = _keys_without_wrappers(path, shapes)
    shapes = {name: shapes[key] for name, key in keys.items()}
    try:
        checkpoint = _identify(path, shapes)
    except Refused as refusal:
        part = PART_OF_FILE.search(path.name)
        if part and int(part[2]) > 1 and refusal.cause in ("adapter_none", "adapter_truncated"):
            raise Refused("file_part", path=path.name, number=int(part[1]), count=int(part[2])) from refusal
        raise
    layers = []
    for layer in checkpoint.layers:
        layers.append(replace(layer, key_name=keys[layer.key_name], value_name=keys[layer.value_name]))
    projection = {name: keys[key] for name, key in checkpoint.projection.items()}
    return replace(checkpoint, layers=tuple(layers), projection=projection)


def _keys_without_wrappers(path: Path, shapes: Shapes) -> dict[str, str]:
    """Name without the prefixes that torch's wrappers add -> key in the file."""
    keys: dict[str, str] = {}
    for key in shapes:
        name = _WRAPPERS.sub("", key)
        if name in keys:
            raise Refused("adapter_twice", path=path.name, got=f"{keys[name]} and {key}")
        keys[name] = key
    return keys


def _identify(path: Path, shapes: Shapes) -> AdapterCheckpoint:
    trained = next(filter(_TRAINED.search, shapes), None)
    if trained is not None and not any(name.startswith(LAYER_PREFIXES) for name in shapes):
        raise Refused("adapter_training", path=path.name, got=trained)
    _refuse_look_alike_keys(path, shapes)
    projection, layers = _part(path, shapes, PROJECTION_PREFIXES), _part(path, shapes, LAYER_PREFIXES)
    if not projection and not layers:
        raise Refused("adapter_none", path=path.name, got=next(iter(shapes), "no tensor at all"))
    refuse_quantised(path, shapes)
    _refuse_look_alike_sizes(path, projection, shapes)
    kind, schema = _schema(path, projection)
    _check_names(path, projection, schema)
    sizes = _sizes(path, {projection[name]: axes for name, axes in schema.items()}, shapes)
    _check_multiple(path, "rows of proj.weight", sizes.get("R", 0), sizes["C"])
    _check_multiple(path, "rows of to_q", sizes.get("H", 0), HEAD_WIDTH)
    tokens = sizes["T"] if kind == "plus" else sizes["R"] // sizes["C"]
    return AdapterCheckpoint(
        path, kind, tokens, sizes["E"], sizes["C"], _layers(path, layers, shapes, sizes["C"]), projection
    )


def _refuse_look_alike_keys(path: Path, shapes: Shapes) -> None:
    for cause, pattern in LOOK_ALIKE_KEYS:
        key = next(filter(re.compile(pattern).search, shapes), None)
        if key is not None:
            raise Refused(cause, path=path.name, got=key)


def _refuse_look_alike_sizes(path: Path, projection: Mapping[str, str], shapes: Shapes) -> None:
    for cause, name, axis, size in LOOK_ALIKE_SIZES:
        shape = shapes.get(projection.get(name, ""), ())
        if shape[axis : axis + 1] == (size,):  # a slice is empty where the shape has no such axis
            raise Refused(cause, path=path.name, got=f"{name} of {size}")


def _check_multiple(path: Path, what: str, size: int, unit: int) -> None:
    if size % unit:
        raise Refused("adapter_shapes", path=path.name, what=what, got=size, expected=f"a multiple of {unit}")


def _part(path: Path, shapes: Shapes, prefixes: tuple[str, ...]) -> dict[str, str]:
    """The keys with the prefix that occurs in the file: name without prefix -> key. Raises Refused for two of them."""
    parts = []
    for prefix in prefixes:
        names = {key[len(prefix) :]: key for key in shapes if key.startswith(prefix)}
        if names:
            parts.append(names)
    if len(parts) > 1:
        first, second = (next(iter(names.values())) for names in parts)
        raise Refused("adapter_twice", path=path.name, got=f"{first} and {second}")
    return parts[0] if parts else {}


def _schema(path: Path, projection: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The kind of adapter with these parts, and all parts that kind must have."""
    if not projection:
        raise Refused("adapter_truncated", path=path.name, got="image_proj")
    if BASE.keys() & projection.keys():
        return "base", BASE
    numbers = [int(match[1]) for match in map(_PLUS_NUMBER.match, projection) if match]
    schema = dict(PLUS)
    for number in range(max(numbers, default=0) + 1):
        for name, axes in PLUS_LAYER.items():
            schema[f"layers.{number}.{name}"] = axes
    return "plus", schema


def _check_names(path: Path, projection: Mapping[str, str], schema: Mapping[str, str]) -> None:
    """Refuse missing parts, and extra ones too: the computation would silently leave them out."""
    for name, key in projection.items():
        if name not in schema:
            raise Refused("adapter_variant", path=path.name, got=key)
    for name in schema:
        if name not in projection:
            raise Refused("adapter_truncated", path=path.name, got=name)


def _sizes(path: Path, expected: Mapping[str, str], shapes: Shapes, **known: int) -> dict[str, int]:
    """Read each letter's size off the shapes. The first place sets it; Refused where a later place differs."""
    sizes = dict(known)
    for key, axes in expected.items():
        shape, symbols = shapes[key], axes.split()
        if len(shape) == len(symbols) and all(_fits(symbol, size, sizes) for symbol, size in zip(symbols, shape)):
            continue
        expected_shape = " x ".join(f"{symbol} ({sizes[symbol]})" if symbol in sizes else symbol for symbol in symbols)
        got = " x ".join(map(str, shape))
        raise Refused("adapter_shapes", path=path.name, what=key, got=got, expected=expected_shape)
    return sizes


def _fits(symbol: str, size: int, sizes: dict[str, int]) -> bool:
    """Whether an axis has the size of its symbol ("D", "2H", "1"); a new letter enters `sizes` with this axis."""
    letter = symbol.lstrip("12")
    factor = int(symbol.removesuffix(letter) or 1)
    if not letter:
        return size == factor
    return size >= 1 and size == factor * sizes.setdefault(letter, size // factor)


def _layers(path: Path, names: Mapping[str, str], shapes: Shapes, context: int) -> tuple[AdapterLayer, ...]:
    """The layers ordered by number; files order them as text: 1, 101, 103, ..."""
    pairs = _layer_keys(path, names)
    layers = []
    for number in range(1, 2 * max(1, len(pairs)), 2):
        pair = pairs.get(number, {})
        for part in ("to_k_ip", "to_v_ip"):
            if part not in pair:
                raise Refused("adapter_truncated", path=path.name, got=f"{number}.{part}")
        sizes = _sizes(path, dict.fromkeys((pair["to_k_ip"], pair["to_v_ip"]), "W C"), shapes, C=context)
        layers.append(AdapterLayer(number, pair["to_k_ip"], pair["to_v_ip"], sizes["W"]))
    return tuple(layers)


def _layer_keys(path: Path, names: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """{number: {"to_k_ip": key, "to_v_ip": key}}, as far as the file has them. Raises Refused for any other name."""
    pairs: dict[int, dict[str, str]] = {}
    for name, key in names.items():
        match = _LAYER_KEY.fullmatch(name)
        if match is None:
            raise Refused("adapter_variant", path=path.name, got=key)
        pairs.setdefault(int(match[1]), {})[match[2]] = key
    return pairs
