"""One subject on the whole canvas equals IP-Adapter; disjoint boxes equal IP-Adapter with masks.

diffusers is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from transformers import CLIPVisionModelWithProjection

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import ImageStream, UNetCall
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.references import pixel_values
from lib_anyms.ip_adapter.tokens import ImageTokens, image_tokens
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject
from lib_anyms.standalone.pipeline import load_pipeline
from tests.support.files import random_files
from tests.support.streams import injected

KINDS = ("base", "plus")
CPU = torch.device("cpu")
IS_COND = (False, True)
SCALE = 0.8
# On multiples of 32 pixels diffusers' resized masks are exactly 0 or 1 at both levels of the UNet.
WIDTH, HEIGHT = 256, 192


def reference(number: int) -> Image.Image:
    image = Image.new("RGB", (60, 50), ("white", "#dddddd", "#eeeeff")[number % 3])
    ImageDraw.Draw(image).ellipse((5 + number, 5, 50, 40), fill=("red", "green", "blue")[number % 3])
    return image


@cache
def plain_unet():
    return load_pipeline(random_files().checkpoint, "cpu", torch.float32).unet


@cache
def adapted_unet(kind: str):
    """diffusers' own IP-Adapter on diffusers' UNet, from the same file."""
    unet = load_pipeline(random_files().checkpoint, "cpu", torch.float32).unet
    flat = load_file(random_files().adapters[kind])
    groups: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in flat.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = tensor.float()
    unet._load_ip_adapter_weights([groups], low_cpu_mem_usage=False)
    return unet.float().eval()


@cache
def encoder() -> Encoder:
    return Encoder(read_encoder(random_files().encoder), CPU, torch.float32)


@cache
def tokens(kind: str, count: int) -> ImageTokens:
    adapter = read_adapter(random_files().adapters[kind])
    return image_tokens(adapter, encoder(), [[reference(number)] for number in range(count)])


def embeddings(kind: str, count: int) -> list[torch.Tensor]:
    """The input of diffusers' projection for an unconditional and a conditional batch entry: (2, count, ...)."""
    cond = encoder().encode([reference(number) for number in range(count)], kind, "pad")
    uncond = encoder().encode_unconditional(kind).expand(cond.shape)
    return [torch.stack((uncond, cond))]


def call(unet, embeds: list[torch.Tensor] | None = None, masks: torch.Tensor | None = None) -> torch.Tensor:
    make = torch.Generator().manual_seed(3)
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    added = {
        "text_embeds": torch.randn(2, pooled, generator=make),
        "time_ids": torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]] * 2, dtype=torch.float32),
    }
    sample = torch.randn(2, 4, HEIGHT // 8, WIDTH // 8, generator=make)
    context = torch.randn(2, 77, config.cross_attention_dim, generator=make)
    if embeds is not None:
        added["image_embeds"] = embeds
    extra = {} if masks is None else {"ip_adapter_masks": [masks]}
    with torch.no_grad():
        return unet(sample, torch.tensor(500), context, added_cond_kwargs=added, cross_attention_kwargs=extra).sample


def theirs(kind: str, count: int, masks: torch.Tensor | None = None) -> torch.Tensor:
    unet = adapted_unet(kind)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [SCALE]
    return call(unet, embeddings(kind, count), masks)


def ours(kind: str, boxes: Sequence[tuple[float, float, float, float]]) -> torch.Tensor:
    unet = plain_unet()
    adapter = read_adapter(random_files().adapters[kind])
    sets = project_key_values(adapter, tokens(kind, len(boxes)), CPU, torch.float32)
    layout = Layout(tuple(Subject(f"s{number}", Box(*box)) for number, box in enumerate(boxes)))
    layers = cross_attention_layers(unet)
    unet_call = UNetCall(CondMap(IS_COND), 0.0)
    stream = ImageStream(unet, layers, sets, layout, SCALE, "crop-merge", lambda *_: unet_call)
    with injected(stream):
        return call(unet)


@pytest.mark.parametrize("kind", KINDS)
def test_one_subject_on_the_whole_canvas_is_ip_adapter(kind: str) -> None:
    expected, plain = theirs(kind, 1), call(plain_unet())
    difference = (ours(kind, [(0, 0, 1, 1)]) - expected).abs().max().item()
    effect = (expected - plain).abs().amax(dim=(1, 2, 3))
    print(f"{kind}: {difference:.2g} from diffusers' IP-Adapter, whose effect is {effect.tolist()}")
    assert difference <= 1e-5
    assert (effect > 1e-2).all()  # in the conditional and in the unconditional entry


@pytest.mark.parametrize("kind", KINDS)
def test_disjoint_boxes_are_ip_adapter_with_masks(kind: str) -> None:
    pixels = [(0, 0, 96, 128), (128, 32, 224, 192), (32, 160, 96, 192)]
    masks = torch.zeros(1, 3, HEIGHT, WIDTH)
    for number, (x0, y0, x1, y1) in enumerate(pixels):
        masks[0, number, y0:y1, x0:x1] = 1
    expected, full = theirs(kind, 3, masks), theirs(kind, 3)
    boxes = [(x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT) for x0, y0, x1, y1 in pixels]
    difference = (ours(kind, boxes) - expected).abs().max().item()
    print(f"{kind}: {difference:.2g} from diffusers' masks")
    assert difference <= 1e-5
    assert (expected - full).abs().max() > 1e-2  # the masks have an effect


def test_numbering_is_the_order_of_diffusers_processors() -> None:
    unet = plain_unet()
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    layers = cross_attention_layers(unet)
    assert [names[layer.number] for layer in layers] == [layer.name for layer in layers]
    assert len(layers) == len(names) / 2 > 10
    numbers = [layer.number for layer in read_adapter(random_files().adapters["base"]).layers]
    assert [layer.number for layer in layers] == numbers


@pytest.mark.parametrize("kind", KINDS)
def test_our_tokens_equal_diffusers_tokens(kind: str) -> None:
    unet = adapted_unet(kind)
    with torch.no_grad():
        projected = unet.encoder_hid_proj(embeddings(kind, 2))[0]  # (2 batch entries, 2 images, T, C)
    mine = tokens(kind, 2)
    assert mine.subjects[0].shape == projected.shape[2:]
    for number in range(2):
        assert (mine.subjects[number] - projected[1, number]).abs().max() <= 1e-5
        assert (mine.unconditional - projected[0, number]).abs().max() <= 1e-5
    assert (mine.subjects[0] - mine.subjects[1]).abs().max() > 1e-3


def test_our_encoder_equals_transformers_encoder() -> None:
    theirs = CLIPVisionModelWithProjection(encoder()._model.config)
    state = {name: tensor.float() for name, tensor in load_file(random_files().encoder).items()}
    missing = theirs.load_state_dict(state, strict=False)
    assert not [name for name in missing.missing_keys if "position_ids" not in name]
    images = [reference(0), reference(1)]
    values = pixel_values(images, encoder().checkpoint.image_size)
    with torch.no_grad():
        output = theirs.eval()(pixel_values=values, output_hidden_states=True)
    assert torch.equal(encoder().encode(images, "base", "pad"), output.image_embeds)
    assert torch.equal(encoder().encode(images, "plus", "pad"), output.hidden_states[-2])
