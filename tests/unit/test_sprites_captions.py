"""Captions tell the truth, can be read back, and are words CLIP has a token for."""

from __future__ import annotations

from random import Random

import pytest
import torch
from transformers import CLIPTokenizer

from lib_anyms.standalone.pipeline import PADS, clip_merges, clip_vocabulary, write_configs
from lib_anyms.standalone.single_file import build_modules
from lib_anyms.standalone.sprites.captions import (
    FULL,
    TELLINGS,
    UNSAID,
    caption,
    full_caption,
    length,
    read,
    told_along,
    vocabulary,
    words_of,
)
from lib_anyms.standalone.sprites.data import SEVERAL, Texts
from lib_anyms.standalone.sprites.identity import ATTRIBUTES, trained_identity
from lib_anyms.standalone.sprites.scene import Recipe, draw_scene
from lib_anyms.standalone.sprites.text import TextLearner, TextPair
from lib_anyms.standalone.structure import SPRITES

SCENES = [draw_scene(SEVERAL, seed) for seed in range(150)]


def test_a_full_caption_says_all_there_is() -> None:
    for scene in SCENES:
        told = read(full_caption(scene))
        assert told.background == scene.background
        assert len(told.subjects) == len(scene.subjects)
        for facts, subject in zip(told.subjects, scene.subjects):
            said = {name: getattr(subject.identity, name) for name in ATTRIBUTES}
            said |= {name: word for name, word in (("action", subject.action), ("size", subject.size)) if word}
            if "pattern" not in facts:  # too many sprites for all of it
                said = {name: word for name, word in said.items() if name not in ("second", "pattern")}
            assert facts == said


def test_whatever_a_caption_says_is_true() -> None:
    random = Random(4)
    complete = dropped = 0
    for scene in SCENES:
        told = read(caption(scene, random, TELLINGS))
        assert told.background in ("", scene.background)
        assert told.count in (0, len(scene.subjects))
        assert len(told.subjects) in (0, len(scene.subjects))
        left = [
            {**{name: getattr(s.identity, name) for name in ATTRIBUTES}, "action": s.action, "size": s.size}
            for s in scene.subjects
        ]
        for facts in sorted(told.subjects, key=len, reverse=True):
            fitting = next(one for one in left if facts.items() <= one.items())
            left.remove(fitting)
            complete += set(ATTRIBUTES) <= set(facts)
            dropped += not set(ATTRIBUTES) <= set(facts)
    assert complete > 100
    assert dropped > 100


def test_a_sprite_can_be_left_unsaid() -> None:
    random = Random(5)
    told = {caption(scene, random, ((UNSAID, 1.0),)) for scene in SCENES}
    assert all(not read(text).subjects and not read(text).count for text in told)
    assert len({read(text).background for text in told}) > 5
    mixed = caption(SCENES[0], Random(1), ((UNSAID, 0.5), (FULL, 0.5)))
    assert set(words_of(mixed)) <= set(vocabulary())


def test_captions_fit_the_text_encoders() -> None:
    random = Random(5)
    crowd = Recipe(trained_identity, counts=(8, 12), weights=(1, 1), happenings=1.0)
    for seed in range(20):
        scene = draw_scene(crowd, seed)
        assert length(full_caption(scene)) <= 75
        assert length(caption(scene, random)) <= 75


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red and blue striped star", {"shape": "star", "body": "red", "second": "blue", "pattern": "stripes"}),
        ("an orange cat with an aqua ring", {"shape": "cat", "body": "orange", "second": "aqua", "pattern": "ring"}),
        ("a huge creature with white dots", {"size": "huge", "second": "white", "pattern": "dots"}),
        ("a leaning Bear, on the night", {"shape": "bear", "action": "leaning"}),
        ("with blue dots", None),
        ("photo of an astronaut", None),
    ],
)
def test_reading(text: str, expected: dict[str, str] | None) -> None:
    assert list(read(text).subjects) == ([expected] if expected else [])


def test_a_word_tells_what_has_been_said_of_its_sprite_and_no_more() -> None:
    text = "a red star with blue dots and a cat on grass"
    told = dict(zip(words_of(text), told_along(text)))
    assert told["red"] == {"body": "red"}
    assert told["star"] == {"body": "red", "shape": "star"}
    assert told["dots"] == {"body": "red", "shape": "star", "second": "blue", "pattern": "dots"}
    assert told["cat"] == {"shape": "cat"}
    assert told["grass"] == {}


def test_every_word_is_one_token_of_clip() -> None:
    known = clip_vocabulary(clip_merges())
    assert [word for word in vocabulary() if f"{word}</w>" not in known] == []


def test_tokens_are_those_of_the_real_tokenizers(tmp_path) -> None:
    write_configs(tmp_path, SPRITES)
    words = TextPair(SPRITES).words
    captions = ["", *(caption(scene, Random(6)) for scene in SCENES[:20])]
    for name, pad in zip(PADS, words.pads):
        real = CLIPTokenizer.from_pretrained(tmp_path / name)
        expected = real(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        numbers = torch.tensor(words.clip_numbers)
        assert torch.equal(numbers[words.tokens(captions, pad)], expected)


def test_the_whole_vocabulary_gives_what_the_compact_one_gave() -> None:
    torch.manual_seed(0)
    pair = TextPair(SPRITES).eval()
    modules = build_modules(SPRITES)
    captions = ["a red star with blue dots on grass", ""]
    context, pooled = pair(captions)
    states = []
    for small, whole, pad in zip((pair.first, pair.second), (modules.text_encoder, modules.text_encoder_2), pair.words.pads):
        state = small.state_dict()
        row = next(name for name in state if name.endswith("token_embedding.weight"))
        whole.load_state_dict({**state, row: pair.whole_vocabulary(small)})
        tokens = torch.tensor(pair.words.clip_numbers)[pair.words.tokens(captions, pad)]
        output = whole.eval()(tokens, output_hidden_states=True)
        states.append(output.hidden_states[-2])
    assert torch.allclose(torch.cat(states, -1), context, atol=1e-6)
    assert torch.allclose(output.text_embeds, pooled, atol=1e-6)


def test_the_text_encoders_learn_and_end_at_strength_one() -> None:
    torch.manual_seed(0)
    pair = TextPair(SPRITES)
    learner = TextLearner(pair)
    optimiser = torch.optim.AdamW(learner.module.parameters(), 3e-3)
    losses = []
    for seed in range(40):
        loss, facts = learner.loss(Texts()(seed, 16))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        assert set(facts) == {"binding", "word", "contrast"}
    assert sum(losses[-5:]) / 5 < 0.85 * losses[0]
    with torch.no_grad():
        learner.finish()
        context, pooled = pair(Texts()(20_000_004, 256)["captions"])
    for part in (context[..., :32], context[..., 32:], pooled):
        assert part.square().mean().item() == pytest.approx(1, rel=0.02)
