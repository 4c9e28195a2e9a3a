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
from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session, close_session, open_session
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


def test_elsewhere_auto_is_the_main_prompt_without_the_subjects(host: FakeHost) -> None:
    play(host, request(elsewhere="auto"))
    assert host.encoded == [("on grass", False)]


def test_a_second_pass_encodes_again_with_its_own_steps_and_prompt(host: FakeHost) -> None:
    session = open_session(Session(host, job=object()))
    wish = request({"prompt": "fur"}, elsewhere="auto")
    session.begin_pass(wish)
    stream = session.stream
    host.main_prompt = "a cat on sand"
    session.begin_pass(wish)
    assert session.stream is stream  # the same viewport: nothing else is done again
    assert host.encoded == [("fur", False), ("on grass", False), ("fur", False), ("on sand", False)]


@pytest.mark.parametrize(
    ("prompt", "names", "expected"),
    [
        ("photo of a cat and a red teapot on a table, soft light", ["cat", "teapot"], "photo on a table, soft light"),
        ("a star, a moon and a tree on sand", ["star", "moon", "tree"], "on sand"),
        ("masterpiece, 1girl, 1boy, park", ["1girl", "1boy"], "masterpiece, park"),
        ("(a cat:1.2) in a garden, (best quality:1.3)", ["cat"], "in a garden, (best quality:1.3)"),
        ("a category of things", ["cat"], "a category of things"),
        ("A CAT", ["cat"], ""),
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


def test_words_come_back_from_infotext_and_layout() -> None:
    wish = request({"prompt": 'a "black" cat,\nsoft', "avoid": "blur"}, elsewhere="grass", words=0.5)
    recalled = infotext.read(infotext.write(wish))
    assert (recalled.subjects[0].prompt, recalled.subjects[0].avoid) == ('a "black" cat,\nsoft', "blur")
    assert (recalled.settings["elsewhere"], recalled.settings["words"]) == ("grass", 0.5)
    assert wish.layout is not None
    assert Layout.from_json(wish.layout.to_json()) == wish.layout


def test_a_request_without_words_writes_none() -> None:
    written = infotext.write(request())
    for name in ("prompt", "avoid", "elsewhere", "words", "fidelity"):
        assert f'"{name}"' not in written


def test_text_contexts_of_the_fake_host_differ() -> None:
    assert not torch.equal(text_context("fur"), text_context("wool"))
