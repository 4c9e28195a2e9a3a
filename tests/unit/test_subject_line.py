"""The line of an infotext: any request comes back through a host's parser, and a person's edits read as meant."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib_anyms.errors import Refused
from lib_anyms.job import infotext, subject_line
from lib_anyms.layout.fields import REQUEST_FIELDS, Field
from lib_anyms.layout.layout import SUBJECT_FIELDS
from tests.support.host_parser import parsed, written

HASH = "464862c33d0d"
BOX = "5,25 43x55 %"
EDGES = [0.05, 0.25, 0.48, 0.8]

# -- everything comes back ---------------------------------------------------------------------------------------------

_SIGNS = st.lists(
    st.sampled_from([*"'\";:,\\ \n\t{[=%-.#<>5x&ツ猫", "\u2028", "\u00a0", "\u200d", "5,25 43x55", "box"]), max_size=20
).map("".join)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | _SIGNS | st.sampled_from(["settings", "Settings", "auto"])


def values_of(field: Field) -> st.SearchStrategy[Any]:
    if isinstance(field.default, bool):
        return st.booleans()
    if field.choices:
        return st.sampled_from(field.choices)
    if isinstance(field.default, str):
        return _TEXTS.filter(lambda text: len(text) <= field.high)
    return st.just(field.default) | st.floats(field.low, field.high)


def table_of(fields: tuple[Field, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={field.name: values_of(field) for field in fields})


@st.composite
def subjects(draw: st.DrawFn) -> dict[str, Any]:
    side = st.floats(0, 1) | st.integers(0, 100).map(lambda percent: percent / 100)
    pairs = [sorted(draw(st.tuples(side, side).filter(lambda pair: pair[0] != pair[1]))) for _ in "xy"]
    values = draw(table_of(SUBJECT_FIELDS))
    if values.get("start", 0.0) >= values.get("end", 1.0):
        values |= {"start": 0.25, "end": 0.75}
    hashes = st.text("0123456789abcdef", min_size=12, max_size=12)
    images = draw(st.fixed_dictionaries({"pictures": st.lists(hashes, max_size=8)}) | st.builds(dict, card=hashes))
    return {"box": [pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]], **values, **images}


REQUESTS = st.builds(
    lambda settings, subjects: {"version": 1, **settings, "subjects": subjects},
    table_of(REQUEST_FIELDS),
    st.lists(subjects(), min_size=1, max_size=4),
)


@given(REQUESTS)
def test_any_request_comes_back_through_a_host_s_parser(data: dict[str, Any]) -> None:
    original = infotext.read(json.dumps(data))
    line = subject_line.write(original.to_json())
    text = written({"Steps": "20", "Size": "512x512", "AnyMS": line, "Version": "v1.10.1"}, prompt="a cat: b\nc")
    assert parsed(text)["AnyMS"] == infotext.entries(text)["AnyMS"] == line
    assert infotext.read(line) == original


@pytest.mark.parametrize(
    "text",
    [
        "Settings",
        "a: b",
        "a; b",
        "a, b",
        "'tis",
        "'",
        "a''b",
        "it's",
        '"cat"',
        "[cat]",
        "{cat}",
        "photo 5,25 43x55",
        " a ",
        "=x",
        ":)",
        "a\nb",
        "a\\",
        "\u00a0a",
        "a\u2028b",
        "猫：黒い",
        "кот",
        "قطة",
        "👩‍🚀",
        "",
        "box 1,2 3x4",
        "version 2;",
    ],
)
def test_awkward_text_comes_back_as_a_name_and_as_a_prompt(text: str) -> None:
    data = {"subjects": [{"name": text, "box": EDGES, "prompt": text, "avoid": "x"}], "elsewhere": text, "version": 1}
    original = infotext.read(json.dumps(data))
    entries = {"Steps": "20", "Size": "512x512", "AnyMS": subject_line.write(original.to_json()), "Version": "v1"}
    assert infotext.read(parsed(written(entries))["AnyMS"]) == original


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
@example([1e-300, 0, 1.2345678901234567e-05, 5e-324])
@example([1 / 3, 0.1, 2 / 3, 0.30000000000000004])
def test_a_box_comes_back_exactly_in_few_signs(edges: list[float]) -> None:
    x0, x1, y0, y1 = *sorted(edges[:2]), *sorted(edges[2:])
    if x0 < x1 and y0 < y1:
        line = subject_line.write({"subjects": [{"name": "a", "box": [x0, y0, x1, y1]}]})
        assert subject_line.read(line)["subjects"][0]["box"] == [x0, y0, x1, y1]
        assert len(line) <= 4 * 24 + 10


def test_the_usual_line_is_short() -> None:
    usual = [{"name": "cat", "box": EDGES, "pictures": [HASH]}, {"name": "big dog", "box": [0.5, 0.2, 0.8, 0.9]}]
    data = infotext.read(json.dumps({"version": 1, "subjects": usual})).to_json()
    line = subject_line.write(data)
    assert line == f"cat: {BOX}, pictures {HASH}; big dog: 50,20 30x70 %"
    assert len(line) < len(json.dumps(data, separators=(",", ":"))) / 5
    assert json.dumps(line) == f'"{line}"'  # nothing is escaped


def test_every_field_has_its_words() -> None:
    first = {"name": "a", "box": [0, 0, 0.5, 1], "role": "attribute", "weight": 0.8, "start": 0.2, "end": 0.7}
    first |= {"blocks": "all but style", "prompt": "a tall hat", "avoid": "blur", "card": HASH}
    settings = {"enabled": False, "scale": 0.4, "mode": "masked-sum", "adapter": "a.bin", "encoder": "my file.bin"}
    settings |= {"unconditional": "cond-only", "fit": "crop", "combine": "concatenate", "elsewhere": "sea, sky"}
    settings |= {"fade": 0.5, "fade_from": 0.2}
    data = infotext.read(json.dumps({"subjects": [first], **settings, "words": 0.5, "fidelity": 0.1, "version": 1}))
    assert subject_line.write(data.to_json()) == (
        "a: 0,0 50x100 %, role attribute, weight 0.8, start 0.2, end 0.7, blocks all but style, prompt 'a tall hat', "
        f"avoid blur, card {HASH}; settings: enabled false, scale 0.4, mode masked-sum, adapter a.bin, "
        "encoder my file.bin, unconditional cond-only, fit crop, combine concatenate, elsewhere 'sea, sky', words 0.5, "
        "fidelity 0.1, fade 0.5, fade_from 0.2"
    )


# -- a person's edits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"cat: {BOX}",
        "cat: 5,25 43x55",
        "cat 5,25 43x55 %",
        "  cat  :  5 , 25   43 x 55%  ; ",
        "cat: 5%,25% 43%x55%",
        "cat: 5 25 43×55 %",
        "cat: box 5,25 43x55 %,",
        "cat: 5.0,25.00 43.x55 %;;",
        "cat: 5,25 to 48,80 %",
        "'cat': 5,25 43x55 %",
        "'cat' 5,25 43x55 %",
        "cat: +5,2.5e1 43x55 %, weight 1, start 0, end 1, role subject, blocks all, prompt '', avoid ''",
        f"version 1; cat: {BOX}; settings: scale 0.6, enabled true, mode crop-merge",
    ],
)
def test_spaces_signs_and_defaults_may_differ(text: str) -> None:
    assert infotext.read(text) == infotext.read(json.dumps({"version": 1, "subjects": [{"name": "cat", "box": EDGES}]}))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (f"weight 0.5, {BOX}, role attribute", {"weight": 0.5, "role": "attribute"}),
        (f"{BOX} weight 0.5 role attribute", {"weight": 0.5, "role": "attribute"}),
        (f"{BOX}, Weight=0.5, ROLE: Attribute", {"weight": 0.5, "role": "attribute"}),
        (f"{BOX}, blocks All  but style weight .5", {"blocks": "all but style", "weight": 0.5}),
        (f"{BOX}, prompt a black cat, weight 0.5", {"prompt": "a black cat", "weight": 0.5}),
        (
            f"{BOX}, prompt 'a cat's tail; black, soft', weight 1.5",
            {"prompt": "a cat's tail; black, soft", "weight": 1.5},
        ),
        (f"{BOX}, prompt 'it''s', avoid 'x'", {"prompt": "it's", "avoid": "x"}),
        (f"{BOX}, pictures {HASH} {HASH} weight 1.5", {"pictures": [HASH, HASH], "weight": 1.5}),
    ],
)
def test_parts_stand_in_any_order_and_commas_may_be_missing(text: str, values: dict[str, Any]) -> None:
    expected = {"version": 1, "subjects": [{"name": "girl's cat 2, old", "box": EDGES, **values}]}
    assert infotext.read(f"girl's cat 2, old: {text}") == infotext.read(json.dumps(expected))


@pytest.mark.parametrize(
    "name", ["fit woman", "scale model", "version 2", "boxer", "weight 3", 'the "cat"', "a\\b", "猫"]
)
def test_a_name_needs_no_quotes_because_it_holds_a_word_of_the_line(name: str) -> None:
    line = f"{name}: {BOX}"
    assert subject_line.read(line)["subjects"][0]["name"] == name
    assert subject_line.write({"subjects": [{"name": name, "box": EDGES}]}) == line


def test_settings_stand_anywhere_and_a_subject_may_have_their_name() -> None:
    data = infotext.read(f"Settings: scale 0.8 mode Masked-Sum; 'settings': {BOX}")
    assert (data.settings["scale"], data.settings["mode"]) == (0.8, "masked-sum")
    assert [subject.name for subject in data.subjects] == ["settings"]
    assert subject_line.write(data.to_json()).startswith("'settings': ")


def test_the_example_of_the_document_is_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    (example,) = [line for line in text.splitlines() if line.startswith('AnyMS: "')]
    line = parsed(f"Steps: 20, Sampler: Euler, {example}")["AnyMS"]
    assert subject_line.write(infotext.read(line).to_json()) == line


def test_an_edit_is_what_counts() -> None:
    line = f"cat: {BOX}, weight 0.5; dog: {BOX}"
    edited = infotext.read(line.replace("weight 0.5", "weight 0.7").replace("dog: 5,", "fox: 15,"))
    assert [(subject.name, subject.weight, subject.box.x0) for subject in edited.subjects] == [
        ("cat", 0.7, 0.05),
        ("fox", 1.0, 0.15),
    ]


# -- what cannot be read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cause", "words"),
    [
        ("", "infotext_damaged", "empty"),
        (" ; ;", "infotext_damaged", "empty"),
        ("settings:", "infotext_damaged", "empty"),
        ("cat", "infotext_subject", "'cat' in place of a subject"),
        ("cat: ", "infotext_box", "'cat' in the infotext is missing"),
        ("cat: weight 1", "infotext_box", "'cat' in the infotext is missing"),
        ("cat: 5", "infotext_box", "'cat' in the infotext is '5'"),
        ("cat: box", "infotext_box", "'cat' in the infotext is ''"),
        ("cat: 5,25 43x55 px", "infotext_part", "'px'"),
        ("cat: 5,25 43x55px", "infotext_box", "'5,25 43x55px'"),
        ("cat: 0.1,0.2 0.3x0.4", "infotext_box", "in percent"),
        ("cat: 5,25 0x55 %", "infotext_box", "'5,25 0x55 %'"),
        ("cat: 500,25 5x55 %", "infotext_box", "'500,25 5x55 %'"),
        ("cat: 5,25 1e999x55 %", "infotext_box", "1e999"),
        (f"cat: {BOX}, {BOX}", "infotext_twice", "subject 'cat' of the infotext has box twice"),
        (f"cat: {BOX}, weight 1 weight 1", "infotext_twice", "has weight twice"),
        (f"cat: {BOX}; settings: scale 1; settings: scale 1", "infotext_twice", "the infotext has scale twice"),
        (f"cat: {BOX} dog: {BOX}", "infotext_part", "subject 'cat' of the infotext has 'dog: 5'"),
        (f"cat: {BOX}, glow 3", "infotext_part", "has 'glow 3', which this AnyMS does not know"),
        (f"cat: {BOX}, weight 0,8", "infotext_part", "has '8'"),
        (f"cat: {BOX}, prompt soft, black", "infotext_part", "text with a comma into '...'"),
        (f"cat: {BOX}; settings: glow 3", "infotext_part", "the infotext has 'glow 3'"),
        (f"cat: {BOX}; settings: weight 1", "infotext_part", "the infotext has 'weight 1'"),
        (f"cat: {BOX}, weight 3", "field_range", "weight of subject 'cat' of the infotext is 3.0"),
        (f"cat: {BOX}, weight much", "field_type", "weight of subject 'cat' of the infotext is 'much'"),
        (f"cat: {BOX}, weight", "field_type", "weight of subject 'cat' of the infotext is ''"),
        (f"cat: {BOX}, role hat", "field_choice", "role of subject 'cat' of the infotext is 'hat'"),
        (f"cat: {BOX}; settings: enabled maybe", "field_type", "true or false"),
        (f"cat: {BOX}, start 0.8, end 0.2", "subject_window", "'cat'"),
        (f"cat: {BOX}, pictures", "infotext_hash", "pictures of subject 'cat'"),
        (f"cat: {BOX}, pictures ABC", "infotext_hash", "'ABC'"),
        (f"cat: {BOX}, pictures {HASH}0", "infotext_hash", HASH),
        (f"cat: {BOX}, pictures {' '.join([HASH] * 9)}", "infotext_damaged", "picture hashes"),
        (f"cat: {BOX}, card {HASH}, pictures {HASH}", "card_and_pictures", "'cat'"),
        (f"'cat: {BOX}", "infotext_quotes", "'cat: 5"),
        (f"cat: {BOX}, prompt 'soft", "infotext_quotes", "'soft"),
        (f'cat: {BOX}, prompt "soft, black"', "infotext_quotes", '"soft'),
        (f"version 2; glow {{cat}} {BOX}", "infotext_version", "has version 2"),
        (f"{'a' * 81}: {BOX}", "field_range", "length of name"),
        ("; ".join([f"cat: {BOX}"] * 13), "subject_count", "13 subjects"),
    ],
)
def test_an_unreadable_line_has_one_cause(text: str, cause: str, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        infotext.read(text)
    assert refusal.value.cause == cause
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "edited",
    [
        '"cat: 5,25 43x55 %, prompt "a cat, black"; dog: 50,20 30x70 %"',  # double quotes inside
        '""cat": 5,25 43x55 %"',
        '"cat: 5,25 43x55 %',  # the last one is lost
        "cat: 5,25 43x55 %",  # both are lost
    ],
)
def test_a_line_that_the_host_cuts_off_is_not_read_in_part(edited: str) -> None:
    entry = parsed(f"a cat\nSteps: 20, Sampler: Euler, Seed: 1, AnyMS: {edited}, Version: v1")["AnyMS"]
    with pytest.raises(Refused) as refusal:
        infotext.read(entry)
    assert "double quotes" in str(refusal.value)


@given(
    _SIGNS | st.text(max_size=60), st.sampled_from(["", "cat: 5,25 43x55 %, ", "cat: ", "settings: ", "cat: pictures "])
)
def test_any_text_is_read_or_refused(text: str, before: str) -> None:
    with suppress(Refused):
        recalled = infotext.read(before + text)
        assert infotext.read(subject_line.write(recalled.to_json())) == recalled


@pytest.mark.parametrize("unit", ["'", "5", "5 ", " ", "''", "a", "cat: ", "[", ";", ",", "\\", "5,5 5x5 "])
def test_long_text_takes_no_long_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    for line in (text, f"cat: {text}", f"cat: {BOX}, prompt {text}", f"cat: {BOX}, pictures {text}"):
        started = time.thread_time()
        with suppress(Refused):
            infotext.read(line)
        assert time.thread_time() - started < 2
