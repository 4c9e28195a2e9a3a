"""Layouts: owners of tokens, visible shares, the proposed order, and valid JSON."""

from __future__ import annotations

import json

import pytest

from lib_anyms.errors import Refused
from lib_anyms.layout.geometry import Box, TokenGrid
from lib_anyms.layout.layout import MAX_SUBJECTS, Layout, Subject, propose_order, propose_role

WHOLE, MIDDLE = Box(0, 0, 1, 1), Box(0.25, 0.25, 0.75, 0.75)


def refused(value: object) -> str:
    with pytest.raises(Refused) as refusal:
        Layout.from_json(value)
    return refusal.value.cause


def test_the_topmost_owns_a_token() -> None:
    grid = TokenGrid(4, 4)
    layout = Layout((Subject("under", WHOLE), Subject("over", MIDDLE)))
    assert layout.owner_map(grid) == [0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert layout.visible_tokens(grid)[1] == [5, 6, 9, 10]
    assert layout.visible_shares(grid) == [0.75, 1.0]
    assert Layout(layout.subjects[::-1]).visible_shares(grid) == [0.0, 1.0]


def test_visible_shares_differ_by_grid() -> None:
    layout = Layout((Subject("a", Box(0, 0, 0.4, 1)), Subject("b", Box(0.3, 0, 1, 1))))
    assert layout.visible_shares(TokenGrid(10, 10))[0] == 0.75
    assert layout.visible_shares(TokenGrid(5, 5))[0] == 1.0  # both edges round to column 2


def test_tokens_outside_every_box_have_no_owner() -> None:
    assert Layout((Subject("a", Box(0, 0, 0.5, 1)),)).owner_map(TokenGrid(1, 4)) == [0, 0, -1, -1]


def test_json_round_trips_and_keeps_the_order() -> None:
    layout = Layout(
        (
            Subject("hat", MIDDLE, role="attribute", weight=1.5, start=0.1, end=0.9, blocks="style"),
            Subject("sea", WHOLE, role="background"),
        )
    )
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


PERCENT_OR_PIXELS = ([0, 0, 50, 100], [10, 20, 50, 90], [0, 0, 512, 1024], [0.1, 0.1, 5, 5], [0, 0, 1, 10**400])


@pytest.mark.parametrize("box", PERCENT_OR_PIXELS, ids=str)
def test_percent_and_pixels_are_called_so(box: list[float]) -> None:
    assert refused({"version": 1, "subjects": [{"name": "cat", "box": box}]}) == "box_units"
    assert refused({"version": 1, "subjects": [{"name": "cat", "box": [-edge for edge in box[::-1]]}]}) == "box_units"


def test_a_box_may_reach_over_the_edge() -> None:
    assert Box.read([-0.5, -1, 1.5, 2]) == WHOLE


@pytest.mark.parametrize("field", ["weight", "start", "end", "name", "role", "blocks", "version"])
def test_numbers_of_hundreds_of_digits_are_refused(field: str) -> None:
    layout = {"version": 1, "subjects": [{"name": "cat", "box": [0, 0, 1, 1], field: 10**400}]}
    for digits in (400, 5000):
        value = {**layout, "version": 10**digits} if field == "version" else layout
        assert refused(value) in ("field_range", "field_type", "field_choice", "layout_version")


def test_subjects_are_counted_before_they_are_read() -> None:
    assert refused({"version": 1, "subjects": [None] * (MAX_SUBJECTS + 1)}) == "subject_count"


def test_an_order_is_proposed_by_role_then_by_size() -> None:
    subjects = [
        Subject("hat", Box(0, 0, 0.9, 0.9), role="attribute"),
        Subject("small", MIDDLE),
        Subject("large", WHOLE),
        Subject("sea", Box(0, 0, 0.1, 0.1), role="background"),
    ]
    assert propose_order(subjects) == [3, 2, 1, 0]
    same = [Subject("a", MIDDLE), Subject("b", MIDDLE)]
    assert propose_order(same) == [0, 1]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("a straw hat", "attribute"),
        ("Glasses", "attribute"),
        ("the beach", "background"),
        ("beach dog", "subject"),
        ("", "subject"),
    ],
)
def test_a_role_is_proposed_by_the_noun(name: str, role: str) -> None:
    assert propose_role(name) == role


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"box": [0, 0, 0, 1]}, "box_empty"),
        ({"box": [2, 0, 3, 1]}, "box_outside"),
        ({"box": "0,0,1,1"}, "box_form"),
        ({"box": None}, "box_form"),
        ({"weight": 2.5}, "field_range"),
        ({"weight": float("nan")}, "field_range"),
        ({"weight": "1"}, "field_type"),
        ({"weight": True}, "field_type"),
        ({"start": -0.1}, "field_range"),
        ({"start": 0.5, "end": 0.5}, "subject_window"),
        ({"role": "hero"}, "field_choice"),
        ({"role": ["subject"]}, "field_choice"),
        ({"blocks": "middle"}, "field_choice"),
        ({"name": 7}, "field_type"),
        ({"name": "x" * 81}, "field_range"),
        ({"colour": "red"}, "field_unknown"),
    ],
)
def test_bad_subjects_are_refused_by_cause(change: dict, cause: str) -> None:
    good = {"name": "cat", "box": [0, 0, 1, 1]}
    assert Layout.from_json({"version": 1, "subjects": [good]}).subjects[0].name == "cat"
    assert refused({"version": 1, "subjects": [{**good, **change}]}) == cause


def test_bad_layouts_are_refused_by_cause() -> None:
    good = {"name": "cat", "box": [0, 0, 1, 1]}
    for value in ([], {"version": 1}, None, {"version": 1, "subjects": "cat"}):
        assert refused(value) == "layout_form"
    assert refused({"version": 2, "subjects": [good]}) == refused({"subjects": [good]}) == "layout_version"
    assert refused({"version": 1, "subjects": []}) == "subject_count"
    assert refused({"version": 1, "subjects": [good] * (MAX_SUBJECTS + 1)}) == "subject_count"
    assert refused({"version": 1, "subjects": ["cat"]}) == "field_type"
    assert refused({"version": 1, "subjects": [{"name": "cat"}]}) == "field_missing"


def test_a_subject_without_a_name_is_named_by_its_number() -> None:
    placed = Layout.from_json({"version": 1, "subjects": [{"box": [0, 0, 1, 1]}, {"box": [0, 0, 1, 1]}]})
    assert [subject.name for subject in placed.subjects] == ["subject 1", "subject 2"]
