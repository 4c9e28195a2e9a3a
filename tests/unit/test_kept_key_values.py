"""Keys and values are kept for the next job with the same subjects, adapter and UNet, within bounds."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lib_anyms.cards.card import Card, read_card
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.job import prepare as prepare_module
from lib_anyms.job.card_making import make_card
from lib_anyms.job.kept_key_values import KeptKeyValues
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.models.model_files import ModelPair, choose_pair
from lib_anyms.runtime import runtime
from lib_anyms.tensor_files.tensor_file import TensorFile
from tests.support.adapter_files import TOKENS, write_adapter
from tests.support.fake_host import FakeHost
from tests.support.tiny_unet import CONTEXT, tiny_unet

CPU, LIKE = torch.device("cpu"), torch.zeros(1)


@pytest.fixture
def projections(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry with every projection."""
    counted: list[int] = []
    whole = project_key_values
    monkeypatch.setattr(prepare_module, "project_key_values", lambda *args: counted.append(1) or whole(*args))
    return counted


def request(*colours: str, **settings: Any) -> Request:
    subjects = []
    for number, colour in enumerate(colours):
        images = [Image.new("RGB", (9, 9), each) for each in colour.split("+")]
        subjects.append({"name": f"s{number}", "box": [0, 0, 1, 1], "images": images})
    return Request.from_json({"subjects": subjects, **settings})


def pair_of(folder: Path) -> ModelPair:
    unet = tiny_unet()
    return choose_pair([folder], unet, cross_attention_layers(unet))


def same(one: KeyValues, other: KeyValues) -> bool:
    pairs = [*zip(one.layers, other.layers)]
    equal = all(torch.equal(mine[0], yours[0]) and torch.equal(mine[1], yours[1]) for mine, yours in pairs)
    return equal and (one.spans, one.uncond) == (other.spans, other.uncond)


def test_the_next_job_projects_nothing_and_opens_no_file(
    folder: Path, projections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, pair = FakeHost(tiny_unet(), folder), pair_of(folder)
    first, _ = prepare(host, pair, request("red", "blue"))
    opened: list[str] = []
    monkeypatch.setattr(TensorFile, "__init__", lambda _self, path, _source: opened.append(path.name))
    again, notes = prepare(host, pair, request("red", "blue"))
    assert (projections, opened, notes) == ([1], [], ())
    assert same(first, again)


@pytest.mark.parametrize(
    "other",
    [
        request("red", "lime"),
        request("blue", "red"),
        request("red"),
        request("red", "blue", fit="crop"),
        request("red", "blue", combine="concatenate"),
        request("red", "blue", unconditional="cond-only"),
        request("red", "blue", fidelity=0.5),
    ],
    ids=["another picture", "another order", "fewer", "fit", "combine", "unconditional", "fidelity"],
)
def test_anything_else_is_projected_again(folder: Path, projections: list[int], other: Request) -> None:
    unet, pair = tiny_unet(), pair_of(folder)
    prepare(FakeHost(unet, folder), pair, request("red", "blue"))
    result, _ = prepare(FakeHost(unet, folder), pair, other)
    assert len(projections) == 2
    runtime.reset()
    expected, _ = prepare(FakeHost(unet, folder), pair, other)
    assert same(result, expected)


def test_boxes_and_weights_are_not_part_of_it(folder: Path, projections: list[int]) -> None:
    host, pair, first = FakeHost(tiny_unet(), folder), pair_of(folder), request("red")
    prepare(host, pair, first)
    moved = {"name": "x", "box": [0, 0, 0.5, 1], "weight": 0.3, "images": list(first.pictures[0])}
    prepare(host, pair, Request.from_json({"subjects": [moved], "scale": 0.2, "mode": "masked-sum"}))
    assert projections == [1]


def test_a_replaced_adapter_and_another_type_are_projected_again(
    folder: Path, projections: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "models"))
    host = FakeHost(tiny_unet(), folder)
    before, _ = prepare(host, pair_of(folder), request("red"))
    write_adapter(folder / "adapter.safetensors", tiny_unet(), seed=1)
    after, _ = prepare(host, pair_of(folder), request("red"))
    assert len(projections) == 2
    assert not same(before, after)
    monkeypatch.setattr(host, "dtype", lambda: torch.float64)
    double, _ = prepare(host, pair_of(folder), request("red"))
    assert len(projections) == 3
    assert double.layers[0][0].dtype == torch.float64


@pytest.mark.parametrize("hashed", [True, False], ids=["from a file", "in memory"])
def test_cards_are_known_by_their_tokens(folder: Path, projections: list[int], hashed: bool) -> None:
    pair, host = pair_of(folder), FakeHost(tiny_unet(), folder)

    def card_of(colour: str) -> Card:
        card = read_card(make_card("x", "subject", [Image.new("RGB", (9, 9), colour)], [pair]), "x")
        return card if hashed else replace(card, hash="")

    def of_card(colour: str) -> Request:
        return replace(request("red"), pictures=((),), cards=(card_of(colour),))

    red, _ = prepare(host, pair, of_card("red"))
    blue, _ = prepare(host, pair, of_card("blue"))
    again, _ = prepare(host, pair, of_card("red"))
    assert len(projections) == 2
    assert same(red, again)
    assert not same(red, blue)


def test_they_go_with_the_unet(folder: Path, projections: list[int]) -> None:
    kept, pair = runtime.of(KeptKeyValues), pair_of(folder)
    unet: nn.Module | None = tiny_unet()
    prepare(FakeHost(unet, folder), pair, request("red"))
    assert kept.bytes > 0
    unet = None
    gc.collect()
    assert kept.bytes == 0
    one, other = tiny_unet(), tiny_unet()
    for current in (one, other, one):  # a host may keep several models
        prepare(FakeHost(current, folder), pair, request("red"))
    assert len(projections) == 4


def test_a_job_on_another_device_or_in_another_type_leaves_what_is_kept(folder: Path) -> None:
    unet, pair = tiny_unet(), pair_of(folder)
    first, _ = prepare(FakeHost(unet, folder), pair, request("red"))
    first.of(1, True, torch.zeros(1, device="meta"))
    second, _ = prepare(FakeHost(unet, folder), pair, request("red"))
    second.of(1, True, torch.zeros(1, dtype=torch.float64))
    third, _ = prepare(FakeHost(unet, folder), pair, request("red"))
    key, _ = third.layers[0]
    assert (key.device, key.dtype) == (CPU, torch.float32)
    assert key.isfinite().all()


def test_a_job_gets_them_on_its_own_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept in the computer's memory: between jobs nothing of ours is on the GPU."""
    host, pair = FakeHost(tiny_unet(), folder), pair_of(folder)
    prepare(host, pair, request("red"))
    monkeypatch.setattr(host, "device", lambda: torch.device("meta"))
    moved, _ = prepare(host, pair, request("red"))
    assert {tensor.device.type for layer in moved.layers for tensor in layer} == {"meta"}


def test_they_are_bounded_and_the_least_recently_used_goes_first() -> None:
    unet, kept = nn.Module(), KeptKeyValues(limit=100)

    def sets(size: int) -> KeyValues:
        return KeyValues({1: (torch.zeros(size), torch.zeros(size))}, [(0, 1)], None)

    for name in "abc":
        kept.add(unet, (name,), sets(4))
        kept.find(unet, ("a",), CPU)
    assert kept.bytes == 96
    kept.add(unet, ("d",), sets(4))
    assert [name for name in "abcd" if kept.find(unet, (name,), CPU) is not None] == ["a", "c", "d"]
    kept.add(unet, ("e",), sets(13))
    assert kept.bytes == 0


def test_a_closed_session_holds_none(folder: Path) -> None:
    session = Session(FakeHost(tiny_unet(), folder), job=object())
    session.begin_pass(request("red"))
    session.close()
    assert session._keys_values is None


class Moves(TorchDispatchMode):
    """The types that tensors have when they go to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[tuple[torch.dtype, torch.dtype]] = []

    def __torch_dispatch__(self, function: Any, _kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default and result.device != args[0].device:
            self.types.append((args[0].dtype, result.dtype))
        return result


def test_weights_are_moved_before_they_are_converted(tmp_path: Path) -> None:
    """In float32 twice as much would be moved."""
    from safetensors.torch import load_file, save_file

    path = write_adapter(tmp_path / "adapter.safetensors", tiny_unet())
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path)
    adapter = read_adapter(path)
    tokens = ImageTokens((torch.zeros(TOKENS, CONTEXT),), torch.zeros(TOKENS, CONTEXT))
    with Moves() as moves:
        project_key_values(adapter, tokens, torch.device("meta"), torch.float16)
    assert moves.types.count((torch.float16, torch.float16)) == 2 * len(adapter.layers)
    assert (torch.float16, torch.float32) not in moves.types
