"""Shapes identify adapters of any size; each look-alike is refused by its own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import LOOK_ALIKE_KEYS, LOOK_ALIKE_SIZES, AdapterCheckpoint, identify, read_adapter

Shapes = dict[str, tuple[int, ...]]
PATH = Path("adapter.safetensors")
# SDXL's 70 layers as the files number them: input blocks 4 + 20, output blocks 30 + 6, middle block 10.
WIDTHS = [32] * 4 + [64] * 20 + [64] * 30 + [32] * 6 + [64] * 10


def base_projection(tokens: int = 4, encoder: int = 20, context: int = 48) -> Shapes:
    return {
        "proj.weight": (tokens * context, encoder),
        "proj.bias": (tokens * context,),
        "norm.weight": (context,),
        "norm.bias": (context,),
    }


def plus_projection(
    tokens: int = 16, encoder: int = 20, context: int = 48, width: int = 24, depth: int = 4, heads: int = 128
) -> Shapes:
    layer = {
        "0.norm1.weight": (width,),
        "0.norm1.bias": (width,),
        "0.norm2.weight": (width,),
        "0.norm2.bias": (width,),
        "0.to_q.weight": (heads, width),
        "0.to_kv.weight": (2 * heads, width),
        "0.to_out.weight": (width, heads),
        "1.0.weight": (width,),
        "1.0.bias": (width,),
        "1.1.weight": (4 * width, width),
        "1.3.weight": (width, 4 * width),
    }
    shapes = {
        "latents": (1, tokens, width),
        "proj_in.weight": (width, encoder),
        "proj_in.bias": (width,),
        "proj_out.weight": (context, width),
        "proj_out.bias": (context,),
        "norm_out.weight": (context,),
        "norm_out.bias": (context,),
    }
    for number in range(depth):
        shapes |= {f"layers.{number}.{name}": shape for name, shape in layer.items()}
    return shapes


def layer_keys(widths: list[int], context: int = 48) -> Shapes:
    """In the text order of the files: 1, 101, 103, ..."""
    parts = {}
    for index, width in enumerate(widths):
        for part in ("to_k_ip", "to_v_ip"):
            parts[f"{2 * index + 1}.{part}.weight"] = (width, context)
    return dict(sorted(parts.items()))


def adapter(
    projection: Mapping[str, tuple[int, ...]] | None = None,
    layers: Mapping[str, tuple[int, ...]] | None = None,
    prefixes: tuple[str, str] = ("image_proj.", "ip_adapter."),
) -> Shapes:
    projection = base_projection() if projection is None else projection
    layers = layer_keys(WIDTHS) if layers is None else layers
    return {
        **{prefixes[0] + name: shape for name, shape in projection.items()},
        **{prefixes[1] + name: shape for name, shape in layers.items()},
    }


def sound(kind: str) -> Shapes:
    return adapter(base_projection() if kind == "base" else plus_projection())


def cause_of(shapes: Shapes) -> str:
    return refusal(shapes).cause


def refusal(shapes: Shapes) -> Refused:
    with pytest.raises(Refused) as error:
        identify(PATH, shapes)
    return error.value


KINDS = pytest.mark.parametrize("kind", ["base", "plus"])


def facts(checkpoint: AdapterCheckpoint) -> tuple[str, int, int, int]:
    return checkpoint.kind, checkpoint.tokens, checkpoint.encoder_width, checkpoint.context_width


def test_base() -> None:
    checkpoint = identify(PATH, adapter(base_projection(tokens=5, encoder=31, context=48)))
    assert (checkpoint.kind, checkpoint.tokens, checkpoint.encoder_width, checkpoint.context_width) == (
        "base",
        5,
        31,
        48,
    )
    assert checkpoint.projection == {name: f"image_proj.{name}" for name in base_projection()}


def test_plus() -> None:
    projection = plus_projection(tokens=7, encoder=31, context=48, width=24, depth=3, heads=192)
    checkpoint = identify(PATH, adapter(projection))
    assert (checkpoint.kind, checkpoint.tokens, checkpoint.encoder_width, checkpoint.context_width) == (
        "plus",
        7,
        31,
        48,
    )
    assert checkpoint.projection == {name: f"image_proj.{name}" for name in projection}


@pytest.mark.parametrize("tokens", [1, 4, 16, 257])
@pytest.mark.parametrize("context", [1, 48, 768, 2048])
@pytest.mark.parametrize("count", [1, 16, 70])
def test_any_size_is_accepted(tokens: int, context: int, count: int) -> None:
    for projection in (
        base_projection(tokens, 1280, context),
        plus_projection(tokens, 1280, context, 64, depth=1, heads=64),
    ):
        checkpoint = identify(PATH, adapter(projection, layer_keys([320] * count, context)))
        assert (checkpoint.tokens, checkpoint.context_width, len(checkpoint.layers)) == (tokens, context, count)


def test_parts_decide_the_kind_where_widths_are_equal() -> None:
    """bigG's projected width and ViT-H's hidden width are the same number."""
    both = [identify(PATH, adapter(make(encoder=1280))) for make in (base_projection, plus_projection)]
    assert [(checkpoint.kind, checkpoint.encoder_width) for checkpoint in both] == [("base", 1280), ("plus", 1280)]


def test_layers_are_in_the_order_of_their_numbers() -> None:
    shapes = sound("base")
    as_text = [key for key in shapes if key.endswith("to_k_ip.weight")]
    assert as_text[:3] == [f"ip_adapter.{number}.to_k_ip.weight" for number in (1, 101, 103)]
    layers = identify(PATH, shapes).layers
    assert [layer.number for layer in layers] == list(range(1, 140, 2))
    assert [layer.width for layer in layers] == WIDTHS
    for layer in layers:
        assert layer.key_name == f"ip_adapter.{layer.number}.to_k_ip.weight"
        assert layer.value_name == f"ip_adapter.{layer.number}.to_v_ip.weight"


@KINDS
@pytest.mark.parametrize("first", ["image_proj.", "image_proj_model."])
@pytest.mark.parametrize("second", ["ip_adapter.", "adapter_modules."])
def test_each_prefix(kind: str, first: str, second: str) -> None:
    projection = base_projection() if kind == "base" else plus_projection()
    shapes = adapter(projection, prefixes=(first, second)) | {"unet.conv_in.weight": (4, 4, 3, 3)}
    checkpoint = identify(PATH, shapes)
    assert checkpoint.kind == kind
    assert checkpoint.projection == {name: first + name for name in projection}
    assert {layer.key_name for layer in checkpoint.layers} == {f"{second}{n}.to_k_ip.weight" for n in range(1, 140, 2)}


@KINDS
def test_files_of_both_formats(tmp_path: Path, kind: str) -> None:
    shapes = sound(kind)
    tensors = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}
    nested: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        top, _, rest = name.partition(".")
        nested[top][rest] = tensor
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(nested, tmp_path / "a.bin")
    read = [read_adapter(tmp_path / name) for name in ("a.safetensors", "a.bin")]
    expected = identify(PATH, shapes)
    for checkpoint, name in zip(read, ("a.safetensors", "a.bin")):
        assert checkpoint == AdapterCheckpoint(tmp_path / name, *list(vars(expected).values())[1:])


def without(shapes: Shapes, *beginnings: str) -> Shapes:
    return {key: shape for key, shape in shapes.items() if not key.startswith(beginnings)}


PLUS, BASE = sound("plus"), sound("base")
MLP = {"proj.0.weight": (40, 20), "proj.0.bias": (40,), "proj.2.weight": (48, 40), "proj.2.bias": (48,)}
NORM = {"norm.weight": (48,), "norm.bias": (48,)}
LOOK_ALIKES: dict[str, tuple[str, Shapes]] = {
    "FaceID": ("adapter_faceid", adapter({**MLP, **NORM}) | {"ip_adapter.0.to_q_lora.down.weight": (8, 32)}),
    "FaceID by k": ("adapter_faceid", adapter({**MLP, **NORM}) | {"ip_adapter.1.to_k_lora.up.weight": (32, 8)}),
    "FaceID portrait": ("adapter_portrait", adapter({**MLP, **NORM})),
    "FaceID portrait without norm": ("adapter_portrait", adapter(MLP)),
    "FaceID plus without LoRA": (
        "adapter_portrait",
        adapter({**NORM, **{f"perceiver_resampler.{name}": shape for name, shape in plus_projection().items()}}),
    ),
    "full face": ("adapter_full_face", adapter({**MLP, "proj.3.weight": (48,), "proj.3.bias": (48,)})),
    "InstantID": ("adapter_instantid", adapter(plus_projection(encoder=512))),
    "PuLID": (
        "adapter_pulid",
        {"id_adapter.mapping_0.0.weight": (8, 8), "id_adapter_attn_layers.1.id_to_k.weight": (8, 8)},
    ),
    "PuLID as IP-Adapter": ("adapter_pulid", adapter({"mapping_0.0.weight": (8, 8), "body.0.weight": (8, 8)})),
    "PuLID's keys": ("adapter_pulid", BASE | {"ip_adapter.1.id_to_k.weight": (8, 8)}),
    "PuLID for Flux": ("adapter_pulid", {"pulid_ca.0.to_q.weight": (8, 8), "pulid_encoder.latents": (1, 8, 8)}),
    "Anima": (
        "adapter_anima",
        {"blocks.0.cross_attn.ip_k_proj.weight": (8, 8), "lora.blocks.0.q_proj.lora_down.weight": (8, 8)},
    ),
    "Anima, flat": ("adapter_anima", {"lora.0.lora_A.weight": (8, 8), "blocks.3.ip_v_proj.weight": (8, 8)}),
    "StoryMaker": (
        "adapter_storymaker",
        {"image_proj_model.bg_embed": (1, 20, 48), "ip_adapter.0.to_q_lora.down.weight": (8, 8)}
        | {f"image_proj_model.{name}": shape for name, shape in {**MLP, **NORM}.items()},
    ),
    "PhotoMaker": ("adapter_photomaker", {"id_encoder.vision_model.x": (8,), "lora_weights.a.down.weight": (8, 8)}),
    "Kolors": ("adapter_kolors", adapter(plus_projection(width=2048, depth=1))),
    "Flux by XLabs": (
        "adapter_flux",
        {
            "double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight": (8, 8),
            "ip_adapter_proj_model.proj.weight": (8, 8),
        },
    ),
    "Flux single": ("adapter_flux", {"single_blocks.0.linear1.weight": (8, 8)}),
    "Flux streams": ("adapter_flux", {"ip_adapter_double_stream_blocks.0.k.weight": (8, 8)}),
    "Flux by InstantX": (
        "adapter_transformer",
        adapter({**MLP, **NORM}, {"0.to_k_ip.weight": (8, 48), "1.to_k_ip.weight": (8, 48)}),
    ),
    "ControlNet": (
        "adapter_controlnet",
        {"control_model.input_hint_block.0.weight": (8, 8), "zero_convs.0.0.weight": (8, 8)},
    ),
    "ControlNet by its convolutions": ("adapter_controlnet", {"zero_convs.0.0.weight": (8, 8)}),
    "ControlNet of diffusers": ("adapter_controlnet", {"controlnet_cond_embedding.conv_in.weight": (8, 8)}),
    "LoRA of kohya": ("adapter_lora", {"lora_unet_middle_block_1_proj_in.lora_down.weight": (8, 8)}),
    "LoRA of Flux": ("adapter_lora", {"lora_unet_double_blocks_0_img_mlp_0.lora_down.weight": (8, 8)}),
    "LoRA of peft": ("adapter_lora", {"unet.down_blocks.0.attn1.to_q.lora_A.weight": (8, 8)}),
    "LoRA of old diffusers": ("adapter_lora", {"unet.down_blocks.0.attn1.processor.to_q_lora.down.weight": (8, 8)}),
    "CLIP": ("adapter_encoder", {"vision_model.embeddings.class_embedding": (8,), "visual_projection.weight": (8, 8)}),
    "CLIP by open_clip": ("adapter_encoder", {"visual.proj": (8, 8)}),
    "checkpoint": (
        "adapter_whole_model",
        {"model.diffusion_model.input_blocks.0.0.weight": (8, 8), "first_stage_model.x": (8,), "conditioner.y": (8,)},
    ),
    "UNet of diffusers": (
        "adapter_whole_model",
        {"conv_in.weight": (8, 4, 3, 3), "down_blocks.0.resnets.0.norm1.weight": (8,)},
    ),
    "nothing": ("adapter_none", {}),
    "something": ("adapter_none", {"encoder.weight": (8, 8)}),
}


@pytest.mark.parametrize(("cause", "shapes"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes_are_named(cause: str, shapes: Shapes) -> None:
    error = refusal(shapes)
    assert error.cause == cause
    assert PATH.name in str(error)


def test_every_look_alike_is_tested_and_names_a_replacement() -> None:
    causes = {entry[0] for entry in (*LOOK_ALIKE_KEYS, *LOOK_ALIKE_SIZES)}
    tested = {cause for cause, _ in LOOK_ALIKES.values()}
    assert causes <= tested
    sentences = {cause: Refused.causes[cause] for cause in causes}
    assert len(set(sentences.values())) == len(causes)
    assert all("Pick ip-adapter-plus" in sentence for sentence in sentences.values())


PLACE = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.weight"


@pytest.mark.parametrize("place", [PLACE, f"unet.{PLACE}", f"module.unet.{PLACE}"])
def test_the_checkpoint_of_a_training_is_called_so(place: str) -> None:
    shapes = without(BASE, "ip_adapter.") | {"unet.conv_in.weight": (4, 4, 3, 3), place: (32, 48)}
    assert cause_of(shapes) == "adapter_training"
    assert cause_of({place: (32, 48)}) == "adapter_training"


def test_the_checkpoint_of_a_training_with_the_adapter_s_own_keys_is_read() -> None:
    shapes = {**BASE, f"unet.{PLACE}": (32, 48)}
    assert identify(PATH, shapes).layers == identify(PATH, BASE).layers


@KINDS
@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapper_s_prefix_changes_nothing_but_the_keys(kind: str, wrapper: str) -> None:
    plain, wrapped = sound(kind), {wrapper + key: shape for key, shape in sound(kind).items()}
    expected, got = identify(PATH, plain), identify(PATH, wrapped)
    assert got.keys == [wrapper + key for key in expected.keys]
    assert (got.kind, got.tokens, got.projection.keys()) == (expected.kind, expected.tokens, expected.projection.keys())


@pytest.mark.parametrize(
    ("old", "new"), [("image_proj.", "image_proj_model."), ("ip_adapter.", "adapter_modules."), ("", "module.")]
)
def test_two_adapters_in_one_file_are_refused(old: str, new: str) -> None:
    second = {new + key[len(old) :]: shape for key, shape in BASE.items() if key.startswith(old)}
    assert cause_of(BASE | second) == "adapter_twice"


@pytest.mark.parametrize("name", ["model-00001-of-00003.safetensors", "pytorch_model-00002-of-00003.bin"])
def test_one_file_of_several_is_called_so(name: str) -> None:
    for shapes in (without(BASE, "ip_adapter.5."), without(PLUS, "image_proj."), {"x.weight": (8, 8)}):
        with pytest.raises(Refused) as error:
            identify(Path(name), shapes)
        assert error.value.cause == "file_part"
        assert "in 3 files" in str(error.value)
    assert identify(Path(name), BASE).kind == "base"
    assert identify(Path("model-00001-of-00001.safetensors"), BASE).kind == "base"


def test_an_adapter_of_sd15_is_read() -> None:
    """model_files.py decides whether it fits the UNet."""
    checkpoint = identify(PATH, adapter(base_projection(4, 1024, 768), layer_keys([320] * 16, 768)))
    assert (checkpoint.context_width, len(checkpoint.layers)) == (768, 16)


@KINDS
def test_every_key_is_needed(kind: str) -> None:
    shapes = sound(kind)
    for key in shapes:
        if "139" not in key:
            others = {other: shape for other, shape in shapes.items() if other != key}
            assert cause_of(others) == "adapter_truncated", key


TRUNCATED = {
    "image_proj": without(BASE, "image_proj."),
    "latents": without(PLUS, "image_proj.latents"),
    "1.to_k_ip": without(BASE, "ip_adapter."),
    "5.to_k_ip": without(BASE, "ip_adapter.5."),
    "103.to_k_ip": without(BASE, "ip_adapter.103.to_k"),
    "139.to_v_ip": without(BASE, "ip_adapter.139.to_v"),
    "layers.2.0.norm1.weight": without(PLUS, "image_proj.layers.2."),
    "layers.0.0.norm1.weight": without(PLUS, "image_proj.layers."),
}


@pytest.mark.parametrize(("lacking", "shapes"), TRUNCATED.items(), ids=TRUNCATED)
def test_a_truncated_file_names_the_missing_part(lacking: str, shapes: Shapes) -> None:
    error = refusal(shapes)
    assert error.cause == "adapter_truncated"
    assert f"it lacks {lacking})" in str(error)


@KINDS
def test_every_axis_must_agree_with_the_others(kind: str) -> None:
    """One more in any axis contradicts another tensor, except for sizes that occur only once."""
    free = {("image_proj.proj.weight", 1), ("image_proj.proj_in.weight", 1), ("image_proj.latents", 1)}
    shapes = sound(kind)
    for key, shape in shapes.items():
        for axis in range(len(shape)):
            if (key, axis) in free:
                continue
            longer = tuple(size + (number == axis) for number, size in enumerate(shape))
            assert cause_of(shapes | {key: longer}) == "adapter_shapes", (key, axis)
        assert cause_of(shapes | {key: (*shape, 1)}) == "adapter_shapes", key
        assert cause_of(shapes | {key: (0,) * len(shape)}) == "adapter_shapes", key


def test_zero_is_refused_as_a_size() -> None:
    for projection in (
        base_projection(tokens=0),
        base_projection(encoder=0),
        plus_projection(tokens=0),
        plus_projection(width=0),
    ):
        assert cause_of(adapter(projection)) == "adapter_shapes"
    assert cause_of(adapter(layers=layer_keys([32, 0, 32]))) == "adapter_shapes"


def test_rows_must_be_a_whole_number_of_tokens() -> None:
    odd = {**base_projection(), "proj.weight": (4 * 48 + 1, 20), "proj.bias": (4 * 48 + 1,)}
    assert "a multiple of 48" in str(refusal(adapter(odd)))


def test_the_width_of_the_heads_must_be_a_multiple_of_64() -> None:
    assert "a multiple of 64" in str(refusal(adapter(plus_projection(heads=100))))


@pytest.mark.parametrize(
    "change",
    [
        lambda: PLUS | {"image_proj.pos_emb.weight": (257, 20)},
        lambda: BASE | {"image_proj.scale": (1,)},
        lambda: BASE | {"ip_adapter.1.to_k_ip.bias": (32,)},
        lambda: BASE | {"ip_adapter.01.to_k_ip.weight": (32, 48)},
        lambda: adapter({**base_projection(), **plus_projection()}),
    ],
    ids=["positions", "scale", "bias", "01", "base and plus"],
)
def test_an_extra_part_is_refused(change: Callable[[], Shapes]) -> None:
    assert cause_of(change()) == "adapter_variant"


def test_large_layer_numbers_are_refused_at_once() -> None:
    assert cause_of(BASE | {f"ip_adapter.999999.to_{p}_ip.weight": (32, 48) for p in "kv"}) == "adapter_truncated"
    assert cause_of(PLUS | {"image_proj.layers.9999.0.norm1.weight": (24,)}) == "adapter_truncated"


@KINDS
def test_diffusers_reads_the_same_layout(kind: str) -> None:
    """The key names above are the real ones: diffusers' converter accepts them."""
    mixins = pytest.importorskip("diffusers.loaders.unet")
    projection = base_projection(context=64) if kind == "base" else plus_projection(context=64)
    state = {name: torch.zeros(shape) for name, shape in projection.items()}
    loader = mixins.UNet2DConditionLoadersMixin()
    module = loader._convert_ip_adapter_image_proj_to_diffusers(state, low_cpu_mem_usage=False)
    checkpoint = identify(PATH, adapter(projection, layer_keys([32], 64)))
    weights = sum(parameter.numel() for parameter in module.parameters())
    assert weights == sum(tensor.numel() for tensor in state.values())
    width = checkpoint.encoder_width
    embedding = torch.zeros(1, width) if kind == "base" else torch.zeros(1, 5, width)
    assert tuple(module(embedding).shape) == (1, checkpoint.tokens, checkpoint.context_width)
