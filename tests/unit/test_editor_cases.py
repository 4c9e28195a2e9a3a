"""Python and the page's editor read and propose the same: tests/js/cases.test.mjs runs these cases too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lib_anyms.errors import Refused
from lib_anyms.layout.geometry import Box, TokenGrid, latent_grid
from lib_anyms.layout.layout import Layout, Subject, propose_order, propose_role
from lib_anyms.layout.positions import write_positions
from lib_anyms.webui.ui.slots import read_order

CASES = json.loads((Path(__file__).parents[1] / "js" / "cases.json").read_text(encoding="utf-8"))


def cause_of(read: Any, text: str) -> tuple[Any, str | None]:
    """(result, None), or (None, cause of the refusal)."""
    try:
        return read(text), None
    except Refused as refusal:
        return None, refusal.cause


def read_layout(text: str) -> list[dict[str, Any]]:
    try:
        layout = json.loads(text)
    except ValueError as error:
        raise Refused("layout_form", got="no JSON") from error
    return Layout.from_json(layout).to_json()["subjects"]


@pytest.mark.parametrize("case", CASES["layouts"], ids=lambda case: case["text"][:60])
def test_layout_files(case: dict[str, Any]) -> None:
    assert cause_of(read_layout, case["text"]) == (case.get("subjects"), case.get("cause"))


@pytest.mark.parametrize("case", CASES["orders"], ids=lambda case: case["text"])
def test_orders(case: dict[str, Any]) -> None:
    assert cause_of(read_order, case["text"]) == (case.get("order"), case.get("cause"))
    if "written" in case:
        assert read_order(case["written"]) == case["order"]


@pytest.mark.parametrize(("name", "role"), CASES["roles"])
def test_proposed_roles(name: str, role: str) -> None:
    assert propose_role(name) == role


@pytest.mark.parametrize("case", CASES["proposed"], ids=lambda case: case["subjects"][0][0])
def test_proposed_orders(case: dict[str, Any]) -> None:
    subjects = []
    for name, role, box in case["subjects"]:
        subjects.append(Subject(name or "x", Box(*box), propose_role(name) if role == "auto" else role))
    assert propose_order(subjects) == case["order"]


@pytest.mark.parametrize("case", CASES["positions"], ids=lambda case: case["written"])
def test_positions_written_into_the_prompt(case: dict[str, Any]) -> None:
    subjects = [Subject(name or "subject 9", Box(*box), role) for name, role, box in case["subjects"]]
    assert write_positions(case["prompt"], subjects) == case["written"]
    assert write_positions(case["written"], subjects) == case["written"]


def grid_of(size: list[int], halvings: int) -> TokenGrid:
    grid = latent_grid(*size)
    for _ in range(halvings):
        grid = grid.halved()
    return grid


@pytest.mark.parametrize("case", CASES["tokens"], ids=lambda case: f"{case['box']} {case['size']}")
def test_tokens(case: dict[str, Any]) -> None:
    rect = Box(*case["box"]).on(grid_of(case["size"], case["halvings"]))
    assert [rect.top, rect.bottom, rect.left, rect.right] == case["rect"]


@pytest.mark.parametrize("case", CASES["owners"], ids=lambda case: f"{case['boxes']} {case['halvings']}")
def test_owners(case: dict[str, Any]) -> None:
    grid = grid_of(case["size"], case["halvings"])
    owners = Layout(tuple(Subject(str(n), Box(*box)) for n, box in enumerate(case["boxes"]))).owner_map(grid)
    signs = ["." if owner < 0 else str(owner) for owner in owners]
    rows = [" ".join(signs[start : start + grid.width]) for start in range(0, grid.tokens, grid.width)]
    assert rows == case["owners"]


@pytest.mark.parametrize("case", CASES["shares"], ids=lambda case: str(case["boxes"]))
def test_visible_shares(case: dict[str, Any]) -> None:
    layout = Layout(tuple(Subject(str(n), Box(*box)) for n, box in enumerate(case["boxes"])))
    assert layout.visible_shares(grid_of(case["size"], 1)) == case["shares"]
