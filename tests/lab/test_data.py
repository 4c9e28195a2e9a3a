"""Batches match their captions and references; the training's image stream equals the engine's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.data import Batch, Maker, References
from lib_anyms.lab.train.diffusion import alpha_sigma, predictor
from lib_anyms.lab.train.text import CachedText, TextLearner, TextPair, Words, draw_caption
from lib_anyms.lab.train.unet import Conditions, UNetLearner, new_unet
from lib_anyms.lab.train.vision import VisionLearner, attribute_directions, new_encoder
from lib_anyms.lab.world.captions import ANYTHING, vocabulary, words_of
from lib_anyms.lab.world.draw import rgb
from lib_anyms.lab.world.identity import SHAPES, Identity, held_out_identity
from lib_anyms.lab.world.latents import preview
from lib_anyms.lab.world.scene import BACKGROUNDS
from lib_anyms.standalone.pipeline import clip_merges, clip_vocabulary
from lib_anyms.standalone.structure import SPRITES, attn2_layers
from tests.lab.bank import bank
from tests.support.streams import NextCall, hook_count, injected, layout_of, stream_on

NARROW = replace(SPRITES, widths=(32, 32, 64), resampler_layers=1)


@cache
def batch(side: int, referenced: float = 0.5, held_out: bool = False) -> Batch:
    return Maker(bank(), side, referenced, held_out)(48, Random(side))


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 24, 32])
def test_an_image_with_a_reference_shows_its_identity_alone(side: int) -> None:
    images = batch(side)
    assert images.latents.shape == (48, 4, side, side)
    assert images.covered.shape == (48, 1, side, side)
    assert [identity is not None for identity in images.identities] == [True] * 24 + [False] * 24
    cells = preview(images.latents)
    for picture, covered, identity in zip(cells[:24], images.covered, images.identities):
        assert identity is not None
        assert identity.trained
        colours = torch.from_numpy(np.stack([rgb(name) for name in (identity.body, identity.second)], 1))
        fits = 0
        for background in BACKGROUNDS:
            figure = picture - torch.from_numpy(rgb(background))[:, None, None] * (1 - covered)
            parts = torch.linalg.lstsq(colours, figure.flatten(1)).solution  # shares of body and second in each cell
            off = (colours @ parts - figure.flatten(1)).abs().max() + (parts.sum(0) - covered.flatten()).abs().max()
            fits += bool(off < 1e-3 and parts.min() > -1e-3)
        assert fits == 1, identity


@pytest.mark.parametrize("side", [16, 24, 32])
def test_captions_name_the_figures_and_the_background(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[list[str]] = []
    place = Maker._place

    def recorded(maker: Maker, identities: list[Identity], random: Random) -> list:
        figures = place(maker, identities, random)
        placed.append([identity.shape for identity, *_ in figures])
        return figures

    monkeypatch.setattr(Maker, "_place", recorded)
    images = Maker(bank(), side, 0.5)(48, Random(side))
    referenced: Counter[str] = Counter()
    for picture, covered, text, shapes, identity in zip(
        preview(images.latents), images.covered, images.captions, placed, images.identities
    ):
        words = words_of(text)
        named = [word for word in words if word in SHAPES]
        (background,) = [word for word in words if word in BACKGROUNDS] or [""]
        if background and (covered == 0).any():
            bare = picture[:, covered[0] == 0]
            assert torch.allclose(bare, torch.from_numpy(rgb(background))[:, None].expand_as(bare), atol=1e-3)
        if identity is None:
            assert sorted(named) == sorted(shapes)
            assert ANYTHING not in words
        else:
            assert named in (shapes, [])
            assert set(shapes) == {identity.shape}
            assert not (named and ANYTHING in words)
            referenced["shape" if named else ANYTHING if ANYTHING in words else ""] += 1
    assert set(referenced) == {"shape", ANYTHING, ""}  # without a word the reference alone must make the figure appear
    counts = {len(shapes) for shapes in placed[24:]}
    assert counts == {16: {0, 1}, 24: {0, 1, 2}, 32: {0, 1, 2, 3, 4}}[side]
    copies = {len(shapes) for shapes in placed[:24]}
    assert copies == {16: {1}, 24: {1, 2}, 32: {1, 2, 3, 4}}[side]


def test_held_out_images_show_held_out_identities() -> None:
    images = batch(16, 1.0, True)
    assert all(identity is not None and identity.held_out for identity in images.identities)


# -- references --------------------------------------------------------------------------------------------------------


class SeesMeans(torch.nn.Module):
    """An image encoder that returns the image's mean and counts the images."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(image_size=64)
        self.seen = 0

    def forward(self, pixel_values: torch.Tensor, output_hidden_states: bool) -> SimpleNamespace:
        self.seen += len(pixel_values)
        means = pixel_values.mean((2, 3))
        hidden = means[:, None].expand(-1, 5, -1)
        return SimpleNamespace(image_embeds=means + 1, hidden_states=(hidden + 9, hidden + 2, hidden + 7))


def test_each_identity_is_encoded_once_per_pose_and_none_as_hosts_do() -> None:
    encoder = SeesMeans()
    references = References(encoder, poses=3)
    one, other = Identity("star", "red", "blue", "half"), Identity("moon", "green", "pink", "half")
    assert encoder.seen == 1  # for no image
    random = Random(4)
    drawn = torch.stack([references("base", [one, None, other], random) for _ in range(30)])
    assert encoder.seen == 1 + 2 * 3
    assert drawn.shape == (30, 3, 3)
    assert drawn.dtype == torch.float32
    assert (drawn[:, 1] == 0).all()
    assert len(drawn[:, 0].unique(dim=0)) == 3
    assert (drawn[:, 0] - drawn[:, 2]).abs().amax(1).min() > 0.05
    hidden = references("plus", [None, one], random)
    assert hidden.shape == (2, 5, 3)
    assert (hidden[0] == 2).all()  # the penultimate states of zeros, as hosts encode no image
    assert encoder.seen == 7


# -- the image stream --------------------------------------------------------------------------------------------------


@cache
def unet() -> torch.nn.Module:
    torch.manual_seed(0)
    return new_unet(NARROW).eval()


def call(width: int = 16) -> torch.Tensor:
    torch.manual_seed(5)
    predict = predictor(
        unet(), (torch.randn(2, 77, NARROW.context_width), torch.randn(2, NARROW.text_2.projection)), 256
    )
    return predict(torch.randn(2, 4, width, width), torch.tensor([600, 300]))


@pytest.mark.parametrize(("kind", "tokens"), [("base", 4), ("plus", 16)])
@torch.no_grad()
def test_the_stream_in_training_is_the_engine_s(kind: str, tokens: int) -> None:
    """One subject over the whole image in one batch entry, nothing in the other."""
    torch.manual_seed(1)
    adapter = Adapter(kind, NARROW, unet())
    shape = (2, NARROW.vision.projection) if kind == "base" else (2, 17, NARROW.vision.hidden)
    image = adapter.tokens(torch.randn(shape))
    assert image.shape == (2, tokens, NARROW.context_width)
    plain = call()
    scale = torch.tensor([0.8, 0.8])[:, None, None]
    with adapter.stream(image, scale):
        ours = call()
    sets = {}
    for layer in cross_attention_layers(unet()):
        parts = adapter.ip_adapter[str(layer.number)]
        sets[layer.number] = tuple(part(image).flatten(0, 1) for part in (parts["to_k_ip"], parts["to_v_ip"]))
    values = KeyValues(sets, [(tokens, 2 * tokens)], (0, tokens))
    with injected(stream_on(unet(), layout_of((0, 0, 1, 1)), NextCall(False, True), scale=0.8, sets=values)):
        theirs = call()
    assert ((ours - plain).abs().amax((1, 2, 3)) > 1e-3).all()
    assert (ours - theirs).abs().max() <= 1e-5
    assert hook_count(unet()) == 0
    assert torch.equal(call(), plain)  # nothing stays behind


@torch.no_grad()
def test_each_image_has_its_scale_and_0_is_no_stream() -> None:
    adapter = Adapter("base", NARROW, unet())
    image = adapter.tokens(torch.randn(2, NARROW.vision.projection))
    plain = call()
    with adapter.stream(image, torch.tensor([0.0, 1.0])[:, None, None]):
        one = call()
    with adapter.stream(image, 1.0):
        both = call()
    assert torch.equal(one[0], plain[0])
    assert torch.equal(one[1], both[1])
    assert not torch.equal(both[0], plain[0])
    with pytest.raises(RuntimeError, match="broken"), adapter.stream(image, 1.0):
        raise RuntimeError("broken")
    assert hook_count(unet()) == 0


def test_an_adapter_has_the_file_s_names_and_starts_from_the_text_s_weights() -> None:
    adapter = Adapter("base", NARROW, unet())
    layers = cross_attention_layers(unet())
    assert [layer.number for layer in layers] == [2 * place + 1 for place in range(len(attn2_layers(NARROW)))]
    state = {name: tensor.detach() for name, tensor in adapter.named_parameters()}
    for layer, (_, width) in zip(layers, attn2_layers(NARROW)):
        assert torch.equal(state[f"ip_adapter.{layer.number}.to_k_ip.weight"], layer.attention.to_k.weight)
        assert torch.equal(state[f"ip_adapter.{layer.number}.to_v_ip.weight"], layer.attention.to_v.weight)
        assert len(state[f"ip_adapter.{layer.number}.to_v_ip.weight"]) == width
    assert {name.split(".")[0] for name in state} == {"image_proj", "ip_adapter"}
    assert state["image_proj.proj.weight"].shape == (4 * NARROW.context_width, NARROW.vision.projection)
    state["ip_adapter.1.to_k_ip.weight"].fill_(0)
    assert layers[0].attention.to_k.weight.abs().max() > 0  # a copy


# -- encoders ----------------------------------------------------------------------------------------------------------


def test_captions_are_numbered_in_the_order_of_clip_s_vocabulary() -> None:
    words, numbers = Words(), clip_vocabulary(clip_merges())
    assert words.clip_numbers == sorted(words.clip_numbers)
    assert len(words) == len(vocabulary()) + 3
    tokens = words.tokens(["a star on cheese sand", ""], words.pads[1])
    expected = ["<|startoftext|>", "a</w>", "star</w>", "on</w>", "sand</w>", "<|endoftext|>", "!", "!"]
    assert [words.clip_numbers[token] for token in tokens[0, :8]] == [numbers[word] for word in expected]
    assert tokens[0].argmax() == 5  # where CLIP reads the pooled state: the largest number
    assert tokens.shape == (2, 77)
    assert words.tokens([""], words.pads[0])[0, 1:].unique().tolist() == [len(words) - 1]


def test_the_text_encoders_learn_and_end_at_strength_one() -> None:
    torch.manual_seed(0)
    learner = TextLearner(NARROW, seed=1, batch=8)
    optimiser = torch.optim.AdamW(learner.module.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        loss, _, count = learner.step(0.0)
        assert count == 8
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    learner.module.eval()
    random = Random(3)
    captions = [draw_caption(random) for _ in range(64)]
    learner.finish()
    with torch.no_grad():
        context, pooled = learner.pair(captions)
    assert context.shape == (64, 77, NARROW.context_width)
    assert context.square().mean().item() == pytest.approx(1, rel=0.1)
    assert pooled.square().mean().item() == pytest.approx(1, rel=0.1)
    cached = CachedText(learner.pair)
    again = cached([captions[0], captions[5], captions[0]])
    assert torch.allclose(again[0], context[[0, 5, 0]], atol=0.01)
    assert torch.allclose(again[1], pooled[[0, 5, 0]], atol=0.01)
    conditions = Conditions(cached, SimpleNamespace())  # type: ignore[arg-type]
    zeros, empty = conditions.encode([None, ""], torch.device("cpu"))[0]
    assert not zeros.any()
    assert empty.any()


def test_the_image_encoder_learns_attributes_along_orthogonal_directions() -> None:
    directions = attribute_directions(96)
    assert torch.allclose(directions @ directions.T, 24 * torch.eye(28), atol=1e-3)
    torch.manual_seed(0)
    learner = VisionLearner(NARROW, seed=1, batch=8)
    identities = [held_out_identity(Random(seed)) for seed in range(6)]
    starts = np.cumsum([0, 8, 8, 8])
    perfect = torch.stack(
        [directions[[s + n for s, n in zip(starts, identity.numbers)]].sum(0) for identity in identities]
    )
    loss, right = learner._named(perfect, identities)
    assert set(right.values()) == {1.0}
    assert loss < 0.1
    assert perfect.square().mean().item() == pytest.approx(1, rel=1e-3)
    assert learner._named(perfect.flip(0), identities)[0] > 1
    loss, facts, count = learner.step(0.0)
    assert count == 8
    assert set(facts) == {"redrawn", "shape", "body", "second", "pattern"}
    loss.backward()
    assert all(weight.grad is not None for weight in learner.encoder.vision_model.encoder.parameters())


# -- a step ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> UNetLearner:
    monkeypatch.setattr("lib_anyms.lab.train.unet.Bank", bank)
    monkeypatch.setattr("lib_anyms.lab.train.unet.BATCHES", {16: 4, 24: 2, 32: 2})
    torch.manual_seed(0)
    net = new_unet(NARROW)
    conditions = Conditions(CachedText(TextPair(NARROW).eval()), References(new_encoder(NARROW).eval(), poses=1))
    return UNetLearner(net, [Adapter(kind, NARROW, net) for kind in ("base", "plus")], conditions, NARROW, seed=3)


def test_dropped_conditions_and_scales_of_the_stream(learner: UNetLearner) -> None:
    identity = Identity("star", "red", "blue", "half")
    images = replace(batch(16), captions=["a star"] * 6000, identities=[identity, None] * 3000)
    captions, identities, scales = learner._drop(images)
    assert all(one is None and scale == 0 for one, scale in list(zip(identities, scales))[1::2])
    shown = [(caption, one, scale) for caption, one, scale in zip(captions, identities, scales)][::2]
    shares = {
        "zeros": np.mean([caption is None for caption, _, _ in shown]),
        "empty": np.mean([caption == "" for caption, _, _ in shown]),
        "no reference": np.mean([one is None for _, one, _ in shown]),
        "weaker": np.mean([scale < 1 for _, _, scale in shown]),
        "neither": np.mean([caption is None and one is None for caption, one, _ in shown]),
    }
    expected = {
        "zeros": 0.05 + 0.95 * 0.06,
        "empty": 0.95 * 0.06,
        "no reference": 0.05 + 0.95 * 0.06,
        "weaker": 0.3,
        "neither": 0.0536,
    }
    assert shares == pytest.approx(expected, abs=0.02)
    # Also without a reference: hosts stream the unconditional tokens.
    assert min(scale for _, _, scale in shown) > 0.6 - 1e-6


def test_a_figure_s_cells_count_twice_and_the_stream_of_the_batch_is_used(
    learner: UNetLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UNetLearner, "_drop", lambda self, images: (images.captions, images.identities, [1.0] * 4))
    monkeypatch.setattr("lib_anyms.lab.train.unet.draw_timesteps", lambda count: torch.full((count,), 500))
    images = Maker(bank(), 16, 1.0)(4, Random(1))
    torch.manual_seed(9)
    errors = learner._errors(images, learner.adapters["base"])
    torch.manual_seed(9)
    noise = torch.randn_like(images.latents)
    alpha, sigma = alpha_sigma(torch.full((4,), 500), noise)
    tokens = learner.adapters["base"].tokens(learner.conditions.references("base", images.identities, Random(0)))
    with learner.adapters["base"].stream(tokens, 1.0):
        text = learner.conditions.encode(images.captions, torch.device("cpu"))
        v = predictor(learner.unet, text, 256)(alpha * images.latents + sigma * noise, torch.full((4,), 500))
    off = (v - (alpha * noise - sigma * images.latents)).square()
    weights = 1 + images.covered
    expected = (off * weights / weights.mean()).mean((1, 2, 3))
    assert torch.allclose(errors, expected, atol=1e-4)
    assert not torch.allclose(errors, off.mean((1, 2, 3)), atol=1e-3)
