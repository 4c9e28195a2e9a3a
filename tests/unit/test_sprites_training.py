"""A training that is interrupted goes on where it was; what is kept is the average; data comes in order from other processes."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from lib_anyms.standalone.sprites import captions, data
from lib_anyms.standalone.sprites.curve import draw_curves, read_log
from lib_anyms.standalone.sprites.data import (
    FEW,
    LARGE,
    Crops,
    Pairs,
    Referenced,
    Scenes,
    Texts,
    batches,
    mistake,
)
from lib_anyms.standalone.sprites.identity import ATTRIBUTES
from lib_anyms.standalone.sprites.scene import REFERENCE_GROUNDS, draw_scene
from lib_anyms.standalone.sprites.training import Average, Batch, Learner, Plan, Trainer, Where

MAKERS = (Scenes((LARGE,), 16), Referenced(16, 4, plain=0.25, mistaken=0.5), Pairs(), Crops(64, 128), Texts())
PLAN = Plan(minutes=1e-9, rate=0.1, batch=4, warmup=1, log_every=0, save_every=0, probe_every=0)


class Line(Learner):
    """Learns y = 2 x."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.finished = 0
        self.fault = False

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        off = (self.module(batch["x"]) - 2 * batch["x"]).square().mean()
        return (off * float("nan") if self.fault else off), {"off": off.item()}

    def probe(self, where: Where) -> dict[str, float]:
        return {"slope": self.module.weight.item()}

    def finish(self) -> None:
        self.finished += 1


class Pulling:
    """So many batches, then the user loses patience, or a process that draws them dies."""

    def __init__(self, count: int, ending: type[BaseException] = KeyboardInterrupt) -> None:
        self.left, self.ending = count, ending

    def __iter__(self):
        return self

    def __next__(self) -> Batch:
        if not self.left:
            raise self.ending
        self.left -= 1
        return {"x": torch.ones(4, 1)}


def endless(muon: bool = False) -> Plan:
    return replace(PLAN, minutes=60.0, muon=muon)


@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("ending", [KeyboardInterrupt, RuntimeError])
def test_interrupted_training_goes_on_where_it_was(ending: type[BaseException], muon: bool, tmp_path: Path) -> None:
    where = Where(tmp_path)
    whole = Trainer("whole", Line(), endless(muon), where)
    with pytest.raises(KeyboardInterrupt):
        whole.run(Pulling(10))
    first = Trainer("line", Line(), endless(muon), where)
    with pytest.raises(ending):
        first.run(Pulling(6, ending))
    second = Trainer("line", Line(), endless(muon), where)
    assert second.resume()
    assert (second.spent.steps, second.spent.images) == (6, 24)
    assert second.spent.seconds == first.spent.seconds > 0
    with pytest.raises(KeyboardInterrupt):
        second.run(Pulling(4))
    states = [load_file(str(where.state(name))) for name in ("whole", "line")]
    assert {name.split(".")[0] for name in states[0]} == {"module", "average", "optimiser"}
    assert states[0].keys() == states[1].keys()
    for name, expected in states[0].items():
        assert torch.allclose(expected, states[1][name], atol=1e-4), name
    assert not where.weights("line").exists()  # a stage that was broken off is not complete


def test_a_complete_stage_leaves_its_average(tmp_path: Path) -> None:
    where, learner = Where(tmp_path), Line()
    trainer = Trainer("line", learner, PLAN, where)
    assert not trainer.resume()
    spent = trainer.run(Pulling(100))
    assert (spent.steps, learner.finished) == (1, 1)
    written = load_file(str(where.weights("line")))
    assert torch.equal(written["weight"], load_file(str(where.state("line")))["average.weight"])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"stage", "step", "images", "seconds", "loss", "off", "rate", "gradient"} <= set(lines[0])
    assert lines[-1]["probe"] == {"slope": pytest.approx(written["weight"].item(), abs=1e-4)}
    assert not list(tmp_path.rglob("*.new"))


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_state(tmp_path: Path) -> None:
    where, learner = Where(tmp_path), Line()
    trainer = Trainer("line", learner, endless(), where)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(Pulling(3))
    saved = where.state("line").read_bytes()
    learner.fault = True
    with pytest.raises(FloatingPointError, match="line"):
        trainer.run(Pulling(3))
    assert where.state("line").read_bytes() == saved


def test_the_average_follows_and_swaps_back() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    start = module.weight.detach().clone()
    average = Average(module, 0.5)
    with torch.no_grad():
        module.weight += 1
    average.follow(100)
    assert torch.allclose(average.weights["weight"], start + 0.5)
    assert set(average.weights) == {"weight"}
    average.swap()
    assert torch.allclose(module.weight, start + 0.5)
    average.swap()
    assert torch.allclose(module.weight, start + 1)


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: type(maker).__name__)
def test_a_seed_decides_a_batch(maker) -> None:
    first, again, other = maker(1, 4), maker(1, 4), maker(2, 4)
    for name, value in first.items():
        assert len(value) == len(again[name])
        same = torch.equal(value, again[name]) if isinstance(value, torch.Tensor) else value == again[name]
        assert same, name
    name = next(iter(first))
    assert not (torch.equal(first[name], other[name]) if isinstance(first[name], torch.Tensor) else first[name] == other[name])


def test_a_reference_is_of_the_sprite_and_another_picture() -> None:
    batch = Referenced(16, 4, plain=0.25, recipe=LARGE)(3, 8)
    assert batch["latents"].shape == (8, 4, 16, 16)
    assert batch["references"].shape == (6, 3, 64, 64)
    assert len(batch["captions"]) == 8
    assert torch.equal(batch["shown"], batch["latents"])
    assert not batch["mistaken"].any()


@pytest.mark.parametrize("told", [1.0, 0.0])
def test_a_mistaken_picture_shows_other_sprites_in_the_same_places_and_another_ground_only_if_the_right_one_is_told(
    monkeypatch: pytest.MonkeyPatch, told: float
) -> None:
    monkeypatch.setattr(captions, "_GROUND_TOLD", told)
    monkeypatch.setattr(data, "_OTHER_GROUND", 0.5)
    batch = Referenced(16, 4, plain=0.5, mistaken=0.5, recipe=LARGE, others=(FEW,))(3, 48)
    mistaken, off = batch["mistaken"], (batch["shown"] - batch["latents"]).abs().amax(1)
    assert 0 < mistaken[:24].sum() < 24
    assert 0 < mistaken[24:].sum() < 24
    assert not off[~mistaken].any()
    assert (off[mistaken].amax((1, 2)) > 0.1).all()
    ground = [(one[cover == 0] > 0.05).float().mean().item() for one, cover in zip(off[mistaken], batch["covered"][mistaken, 0])]
    others = sum(share > 0.95 for share in ground)  # elsewhere only what the other sprite covers differs
    assert (0 < others < len(ground)) if told else others == 0
    assert told or (off[mistaken] > 0.05).float().mean() < 0.6  # the ground between the sprites stays


@pytest.mark.parametrize("shape_only", [False, True])
def test_what_a_sprite_is_taken_for_is_another_shape_that_training_may_show(shape_only: bool) -> None:
    random, changed, grounds = Random(0), set(), set()
    for seed in range(40):
        scene = draw_scene(FEW, seed)
        wrong = mistake(scene, shape_only, bool(seed % 2), random)
        assert (wrong.background != scene.background) is bool(seed % 2)
        grounds.add(wrong.background)
        for subject, taken in zip(scene.subjects, wrong.subjects):
            assert taken.identity.shape != subject.identity.shape
            assert taken.identity.trained
            assert taken.box == subject.box
            changed |= {name for name in ATTRIBUTES if getattr(taken.identity, name) != getattr(subject.identity, name)}
    assert changed == ({"shape"} if shape_only else set(ATTRIBUTES))
    assert grounds > {*REFERENCE_GROUNDS}


def test_pairs_are_two_pictures_of_each_identity_with_near_misses() -> None:
    batch = Pairs()(1, 8)
    numbers = batch["numbers"]
    assert torch.equal(numbers[:4], numbers[4:])
    assert [int((a != b).sum()) for a, b in (numbers[0:2], numbers[2:4])] == [1, 1]
    assert not torch.equal(batch["pictures"][:4], batch["pictures"][4:])
    shares = batch["masks"].mean((1, 2))
    assert ((shares > 0.08) & (shares < 0.9)).all()


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one["latents"], other["latents"]) and one["captions"] == other["captions"]


def test_a_training_goes_on_with_batches_it_has_not_seen() -> None:
    maker = Scenes((LARGE,), 16, 4)
    first, resumed = (list(islice(batches(maker, 2, seed=7, start=start, workers=0), 3)) for start in (0, 3))
    whole = list(islice(batches(maker, 2, seed=7, workers=0), 6))
    assert all(map(same, whole, first + resumed))
    assert not any(same(old, new) for old in first for new in resumed)
    assert not same(first[0], next(batches(maker, 2, seed=8, workers=0)))


def test_other_processes_give_the_same_batches_in_order_and_outlive_a_request_to_end() -> None:
    maker = Scenes((LARGE,), 16, 4)
    here = batches(maker, 2, seed=7, start=5, workers=0)
    there = batches(maker, 2, seed=7, start=5, workers=2)
    if os.name != "nt":  # there it would be no request
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        for worker in workers:
            worker.terminate()  # while it still imports torch
    assert all(same(next(here), next(there)) for _ in range(5))


def test_the_curves_are_drawn_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [{"stage": "text", "images": 10 * i, "loss": 2.0 / i} for i in range(1, 5)]
    lost = [{"stage": "text", "images": images, "loss": 9.0} for images in (30, 40)]  # cut off before it was saved
    lines = [*lines[:2], *lost, *lines[2:], {"stage": "text", "images": 4, "probe": {}}]
    lines += [{"stage": "vision", "images": 1, "loss": 1.0}]
    log.write_text("\n".join(map(json.dumps, lines)))
    assert read_log(log) == {"text": [(10.0, 2.0), (20.0, 1.0), (30.0, 2 / 3), (40.0, 0.5)], "vision": [(1.0, 1.0)]}
    draw_curves(log, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert (0, 0x72, 0xB2) in {colour for _, colour in picture.convert("RGB").getcolors(100_000)}
