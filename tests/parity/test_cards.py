"""A card replaces its pictures, on diffusers with the trained sprites: exact in float32, within a bound in float16."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from lib_anyms.cards.card import read_card
from lib_anyms.hosts.diffusers import Diffusers
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.job.card_making import make_card
from lib_anyms.job.live_sessions import close_session, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.job.token_cache import TokenCache
from lib_anyms.layout.layout import Layout
from lib_anyms.models.model_files import ModelPair
from lib_anyms.runtime import runtime
from lib_anyms.standalone import default_scene
from lib_anyms.standalone.bundle import ADAPTERS, CHECKPOINT, ENCODER, FILES, LIST, join_files
from lib_anyms.standalone.generate import Models
from lib_anyms.standalone.pipeline import load_pipeline

BOUND = 1e-3  # largest difference from float16 tokens, as a share of the subjects' effect


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sprites")
    join_files(FILES / LIST, folder)
    return folder


@cache
def pipeline(checkpoint: Path):
    pipe = load_pipeline(checkpoint, "cpu", torch.float32)
    pipe._guidance_scale, pipe._cross_attention_kwargs = 7.0, None  # as within a call, for do_classifier_free_guidance
    return pipe


def request(cards: tuple, **settings) -> Request:
    """The demo's scene with weights; a subject has its card, or its pictures where the card is None."""
    subjects = default_scene.LAYOUT.subjects
    weights = (1.0, 0.7, 1.3)
    layout = Layout(tuple(replace(subject, weight=weight) for subject, weight in zip(subjects, weights)))
    pictures = tuple(() if card else group for card, group in zip(cards, default_scene.pictures()))
    return Request(layout, pictures, scale=2.0, cards=cards, **settings)


def output(models: Models, request: Request | None) -> torch.Tensor:
    """The output of one UNet call with an unconditional and a conditional batch entry."""
    pipe = pipeline(models.checkpoint)
    make = torch.Generator().manual_seed(3)
    config = pipe.unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    added = {
        "text_embeds": torch.randn(2, pooled, generator=make),
        "time_ids": torch.tensor([[256.0, 256, 0, 0, 256, 256]] * 2),
    }
    context = torch.randn(2, 77, config.cross_attention_dim, generator=make)
    sample = torch.randn(2, 4, 32, 32, generator=make)
    session = open_session(
        Session(Diffusers(pipe, [models.adapter, *([models.encoder] if models.encoder else [])]), pipe)
    )
    try:
        if request is not None:
            session.begin_pass(request)
            session.begin_step(0.0)
        with torch.no_grad():
            return pipe.unet(sample, torch.tensor(500), context, added_cond_kwargs=added).sample
    finally:
        close_session()
        runtime.of(TokenCache).clear()


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
@pytest.mark.parametrize(
    "settings", [{}, {"unconditional": "cond-only"}, {"mode": "masked-sum"}], ids=["", "cond-only", "masked-sum"]
)
def test_cards_replace_their_pictures(files: Path, kind: str, settings: dict[str, str]) -> None:
    if not (files / ADAPTERS[kind]).is_file():
        pytest.fail(f"the trained small world has no {kind} adapter")
    models = Models(files / CHECKPOINT, files / ADAPTERS[kind], files / ENCODER)
    pair = ModelPair(read_adapter(models.adapter), read_encoder(files / ENCODER))

    def cards(dtype: torch.dtype) -> tuple:
        named = zip(default_scene.LAYOUT.subjects, default_scene.pictures())
        files = [make_card(subject.name, subject.role, group, [pair], dtype=dtype) for subject, group in named]
        return tuple(read_card(file, "a card") for file in files)

    none = (None,) * 3
    expected, plain = output(models, request(none, **settings)), output(models, None)
    effect = (expected - plain).abs().max().item()
    assert effect > 0.05
    whole, alone = cards(torch.float32), replace(models, encoder=None)
    assert torch.equal(output(alone, request(whole, **settings)), expected)
    assert torch.equal(output(models, request((None, *whole[1:]), **settings)), expected)
    difference = (output(alone, request(cards(torch.float16), **settings)) - expected).abs().max().item()
    print(
        f"{kind} {settings}: half precision moves the UNet's output by {difference:.2g}, the subjects by {effect:.2g}"
    )
    assert 0 < difference <= BOUND * effect
