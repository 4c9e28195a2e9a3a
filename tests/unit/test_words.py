"""The subjects' own prompts, from the request to the UNet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.hosts.prompts import encode_diffusers_prompts
from lib_anyms.job import infotext
from lib_anyms.job.live_sessions import close_session, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.layout.elsewhere import propose_elsewhere
from lib_anyms.layout.layout import Layout
from tests.support.fake_host import FakeHost, sample, text_context
from tests.support.streams import hook_count
from tests.support.tiny_unet import tiny_unet

LEFT, RIGHT = [0, 0, 0.5, 1], [0.5, 0, 1, 1]
PICTURE = Image.new("RGB", (9, 9), "red")


def request(*subjects: dict[str, Any], **settings: Any) -> Request:
    """A cat on the left, a dog on the right, with these further values."""
    values = [{"name": "cat", "box": LEFT}, {"name": "dog", "box": RIGHT}]
    for number, more in enumerate(subjects):
        values[number] |= more
    return Request.from_json({"subjects": [{**value, "images": [PICTURE]} for value in values], **settings})


@pytest.fixture
def host(folder: Path) -> Iterator[FakeHost]:
    yield FakeHost(tiny_unet(), folder)
    close_session()


def play(host: FakeHost, wish: Request, steps: int = 1) -> list[torch.Tensor]:
    """The UNet's output at each step."""
    session = open_session(Session(host, job=object()))
    session.begin_pass(wish)
    outputs = []
    for step in range(steps):
        session.begin_step(SimpleNamespace(progress=step / steps, number=step))
        outputs.append(sample(host.current))
    session.finish_pass()
    close_session()
    return outputs


def test_without_words_the_output_is_the_same_bit_for_bit(host: FakeHost) -> None:
    plain = play(host, request())[0]
    assert torch.equal(play(host, request({"prompt": "a black cat"}, words=0))[0], plain)
    assert host.encoded == []


def test_each_prompt_is_encoded_once_a_pass_by_its_kind(host: FakeHost) -> None:
    play(host, request({"prompt": "fur", "avoid": "blur"}, {"prompt": "fur"}, elsewhere="grass"), steps=3)
    assert host.encoded == [("fur", False), ("grass", False), ("blur", True)]
    assert hook_count(host.current) == 0


def test_words_change_the_output_and_follow_their_schedule(host: FakeHost) -> None:
    plain = play(host, request(), steps=2)
    first, second = play(host, request({"prompt": "fur->wool"}), steps=2)
    only_fur = play(host, request({"prompt": "fur"}), steps=2)
    assert not torch.equal(first[1], plain[0][1])
    assert torch.equal(first, only_fur[0])
    assert not torch.equal(second, only_fur[1])


def test_words_act_without_any_image_stream(host: FakeHost) -> None:
    plain = sample(host.current)
    wish = request({"prompt": "fur"}, scale=0)
    assert wish.active
    assert not request(scale=0).active
    output = play(host, wish)[0]
    assert torch.equal(output[0], plain[0])  # unconditional: nothing to avoid, no image
    assert not torch.equal(output[1], plain[1])


def test_beside_regional_texts_ours_steps_aside_for_text_alone_and_says_so_once(host: FakeHost) -> None:
    plain = play(host, request())[0]
    host.text_leader = "Regional Prompter"
    session = open_session(Session(host, job=object()))
    wish = request({"prompt": "fur", "avoid": "blur"}, elsewhere="grass")
    session.begin_pass(wish)
    for number in range(2):
        session.begin_step(SimpleNamespace(progress=number / 2, number=number))
        assert torch.equal(sample(host.current), plain)  # the pictures act as before
    session.finish_pass()
    (note,) = session.new_notes()
    assert note.cause == "foreign_text"
    assert session.new_notes() == []


def test_elsewhere_auto_is_the_main_prompt_without_the_subjects(host: FakeHost) -> None:
    play(host, request(elsewhere="auto"))
    assert host.encoded == [("on grass", False)]


def test_a_second_pass_encodes_once_with_its_own_steps_and_prompt(host: FakeHost) -> None:
    session = open_session(Session(host, job=object()))
    wish = request({"prompt": "fur"}, elsewhere="auto")
    session.begin_pass(wish)
    stream = session.stream
    assert host.encoded == [("fur", False), ("on grass", False)]
    session.begin_step(SimpleNamespace(progress=0.0, number=0))
    sample(host.current)
    host.encoded.clear()
    host.main_prompt = "a cat on sand"
    for _ in range(2):  # Forge begins its second pass twice
        session.begin_pass(wish)
        assert session.stream is stream  # the same viewport: nothing else is done again
        assert host.encoded == [("fur", False), ("on sand", False)]
    session.begin_step(SimpleNamespace(progress=0.0, number=0))
    sample(host.current)
    session.begin_pass(wish)  # other steps, the same prompt
    assert host.encoded == [("fur", False), ("on sand", False)] * 2


@pytest.mark.parametrize(
    ("prompt", "names", "expected"),
    [
        ("photo of a cat and a red teapot on a table, soft light", ["cat", "teapot"], "photo on a table, soft light"),
        ("a star, a moon and a tree on sand", ["star", "moon", "tree"], "on sand"),
        ("masterpiece, 1girl, 1boy, park", ["1girl", "1boy"], "masterpiece, park"),
        ("(a cat:1.2) in a garden, (best quality:1.3)", ["cat"], "in a garden, (best quality:1.3)"),
        ("a category of things", ["cat"], "a category of things"),
        ("A CAT", ["cat"], ""),
        ("a cat on the left and a red fox in the upper right on a table", ["cat", "fox"], "on a table"),
        ("a cat at the top, a tree on the left", ["cat"], "a tree on the left"),
        ("a cat AND a quiet beach :0.8 AND soft light", ["cat"], "a quiet beach, soft light"),
        ("nothing of ours", ["", "cat"], "nothing of ours"),
    ],
)
def test_the_proposal_for_elsewhere(prompt: str, names: list[str], expected: str) -> None:
    assert propose_elsewhere(prompt, names) == expected


@pytest.mark.parametrize("field", ["prompt", "avoid", "elsewhere"])
@pytest.mark.parametrize("tag", ["<lora:fur:0.8>", "<hypernet:x>", "<lyco:a:1>"])
def test_an_extra_network_is_refused_where_it_stands(field: str, tag: str) -> None:
    with pytest.raises(Refused, match="Put it into the main prompt") as refusal:
        request(elsewhere=f"grass {tag}") if field == "elsewhere" else request({field: f"a cat {tag}"})
    assert refusal.value.cause == "prompt_network"
    assert tag in str(refusal.value)


@pytest.mark.parametrize("field", ["prompt", "avoid", "elsewhere"])
@pytest.mark.parametrize("text", ["a cat AND a dog", "a cat :1.2 AND\na dog", "AND"])
def test_composition_by_and_is_refused_where_it_stands(field: str, text: str) -> None:
    with pytest.raises(Refused) as refusal:
        request(elsewhere=text) if field == "elsewhere" else request({field: text})
    assert refusal.value.cause == "prompt_and"
    assert "Put it into the main prompt" in str(refusal.value)


@pytest.mark.parametrize("text", ["a cat and a dog", "SAND and AND_1, BRAND", "And"])
def test_words_that_only_look_like_and_pass(text: str) -> None:
    assert request({"prompt": text}).has_words


def test_words_come_back_from_infotext_and_layout() -> None:
    wish = request({"prompt": 'a "black" cat,\nsoft', "avoid": "blur"}, elsewhere="grass", words=0.5)
    recalled = infotext.read(infotext.write(wish))
    assert (recalled.subjects[0].prompt, recalled.subjects[0].avoid) == ('a "black" cat,\nsoft', "blur")
    assert (recalled.settings["elsewhere"], recalled.settings["words"]) == ("grass", 0.5)
    assert wish.layout is not None
    assert Layout.from_json(wish.layout.to_json()) == wish.layout


def test_a_request_without_words_writes_none() -> None:
    written = infotext.write(request())
    for name in ("prompt", "avoid", "elsewhere", "words", "fidelity", "fade", "fade_from"):
        assert name not in written


class Encoding:
    """A pipeline of which only the text encoders are used."""

    device = torch.device("cpu")

    def encode_prompt(self, prompts: list[str], **_settings: Any) -> tuple[torch.Tensor]:
        return (torch.stack([text_context(prompt) for prompt in prompts]),)


def test_break_starts_a_new_chunk_in_diffusers_as_in_the_webuis() -> None:
    schedules = encode_diffusers_prompts(Encoding(), ["fur", "a cat BREAK fur\nBREAK  ", "BREAKFAST"])
    fur, joined, breakfast = (schedule.at(0) for schedule in schedules)
    assert torch.equal(fur, text_context("fur"))
    assert torch.equal(joined, torch.cat([text_context("a cat"), text_context("fur"), text_context("")]))
    assert torch.equal(breakfast, text_context("BREAKFAST"))


def test_text_contexts_of_the_fake_host_differ() -> None:
    assert not torch.equal(text_context("fur"), text_context("wool"))
