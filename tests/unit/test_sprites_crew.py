"""Two processes that train together are one training on twice the pictures: same weights in both, one of them writes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from safetensors.torch import load_file
from torch import nn

from lib_anyms.standalone.sprites.training import Batch, Crew, Learner, Plan, Trainer, Where

STEPS = 12
PICTURES = torch.linspace(-1, 1, 2 * 4 * STEPS, dtype=torch.float64).view(STEPS, 8, 1)


class Line(Learner):
    """Learns y = 2 x; `unused` gets no gradient, as an adapter whose turn it is not."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.ModuleDict({"used": nn.Linear(1, 1), "unused": nn.Linear(1, 1)}).double()

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        return (self.module["used"](batch["x"]) - 2 * batch["x"]).square().mean(), {}


def train(out: Path, parts: slice) -> Trainer:
    def pictures() -> Iterator[Batch]:
        yield from ({"x": step[parts]} for step in PICTURES)
        raise KeyboardInterrupt

    trainer = Trainer("line", Line(), Plan(minutes=60, rate=0.1, batch=8, warmup=1, save_every=60, probe_every=60), Where(out))
    with pytest.raises(KeyboardInterrupt):
        trainer.run(pictures())
    return trainer


def member(rank: int, port: int, out: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    trainer = train(Path(out) / f"{rank}", slice(4 * rank, 4 * rank + 4))
    weight = trainer.learner.module["used"].weight.item()
    (Path(out) / f"{rank}.json").write_text(json.dumps({"weight": weight, "images": trainer.spent.images}), encoding="utf-8")
    dist.destroy_process_group()


def test_two_processes_are_one_training(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.spawn(member, (port, str(tmp_path)), nprocs=2)
    told = [json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    alone = train(tmp_path / "alone", slice(0, 8))
    expected = alone.learner.module["used"].weight.item()
    assert abs(told[0]["weight"] - expected) < 1e-7  # the rate follows the clock
    assert told[0] == told[1]
    assert told[0]["images"] == alone.spent.images == 8 * STEPS
    assert expected != pytest.approx(Line().module["used"].weight.item(), abs=0.1)
    state = load_file(str(tmp_path / "0" / "state" / "line.safetensors"))
    assert abs(state["module.used.weight"].item() - expected) < 1e-7
    assert not (tmp_path / "1").exists()


def test_alone_nothing_is_agreed_upon() -> None:
    assert Crew.found() == Crew(0, 1)
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.full((1,), 3.0)
    assert Crew().agree([weight], 5.0) == 5.0
    assert weight.grad.item() == 3.0
