"""`python -m lib_anyms train`: what it refuses, and that a training which is told to end saves itself and can be gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lib_anyms.errors import Refused
from lib_anyms.standalone import train_command
from lib_anyms.standalone.cli import INTERRUPTED, REFUSED, main
from lib_anyms.standalone.processes import CHECKOUT
from lib_anyms.standalone.sprites import rounds, stages
from lib_anyms.standalone.sprites.stages import BASES, RUN, STAGES, Run, begin, complete, train_stage
from lib_anyms.standalone.sprites.training import Learner, Where

STEP = 1e-9  # minutes that one step takes
ALONE = "text"  # a stage that needs no other, and whose steps are fast
QUICK = replace(STAGES[ALONE], plan=replace(STAGES[ALONE].plan, batch=4))
SECONDS = 120.0  # for a process to get going on a busy machine


@pytest.fixture
def unprobed(monkeypatch: pytest.MonkeyPatch) -> None:
    for learner in Learner.__subclasses__():
        monkeypatch.setattr(learner, "probe", lambda self, where: {})


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the batches that trainings began at."""
    seen: list[int] = []

    def noted(maker, count, seed, start, workers):
        seen.append(start)
        return made(maker, count, seed, start, workers)

    made = stages.batches
    monkeypatch.setattr(stages, "batches", noted)
    return seen


def refusal(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["train", "--here", "--out", str(out), *arguments]) == REFUSED
    told = capsys.readouterr().err
    assert told.startswith("AnyMS: ")
    assert told.count("\n") == 1
    return told


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(["--stage", "nonsense"], tmp_path, capsys)
    assert "'nonsense'" in told
    assert ", ".join(STAGES) in told
    assert not list(tmp_path.iterdir())


def test_a_stage_and_the_files_need_what_comes_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"the stage {BASES[-1]} builds on the stage text" in refusal(["--stage", BASES[-1]], tmp_path, capsys)
    assert f"builds on the stage {BASES[-1]}" in refusal(["--export"], tmp_path, capsys)


def test_a_training_is_not_begun_over_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path, 5, 3, False, 720)
    before = (tmp_path / RUN).read_bytes()
    assert "--resume" in refusal([], tmp_path, capsys)
    assert (tmp_path / RUN).read_bytes() == before


def test_a_run_remembers_what_it_was_begun_with(tmp_path: Path) -> None:
    assert begin(tmp_path, 5, 3, False, 720) == (5.0, 3)
    assert begin(tmp_path, None, None, True, 720) == (5.0, 3)
    assert begin(tmp_path, 8, None, True, 720) == (8.0, 3)
    with pytest.raises(Refused, match="--resume"):
        begin(tmp_path, 5, 3, False, 720)
    assert json.loads((tmp_path / RUN).read_text(encoding="utf-8")) == {"minutes": 8, "seed": 3}
    assert begin(tmp_path / "other", None, None, False, 720) == (720.0, 0)


def test_shares_make_a_whole() -> None:
    for device in (0, 1):
        assert sum(stage.shares[device] for stage in STAGES.values()) == pytest.approx(1, abs=0.05)


def test_stages_come_in_the_order_they_build_on_each_other(tmp_path: Path) -> None:
    """In an empty folder each either needs none, or says which one it lacks: an earlier one."""
    run, order = Run(Where(tmp_path), minutes=0, workers=0), list(STAGES)
    needs, causes = {}, set()
    for name, stage in STAGES.items():
        try:
            stage.learner(run, 0)
        except Refused as refused:
            causes.add(refused.cause)
            needs[name] = next(other for other in order if f"the stage {other}," in str(refused))
    assert causes == {"train_needs"}
    assert set(BASES) < set(needs)
    assert all(order.index(other) < order.index(name) for name, other in needs.items())


def test_a_complete_stage_is_left_alone_and_goes_on_when_it_gets_more_time(
    tmp_path: Path, unprobed: None, starts: list[int]
) -> None:
    run = Run(Where(tmp_path), minutes=0, workers=0)
    spent = train_stage(QUICK, run, minutes=STEP)
    state = run.where.weights(ALONE).read_bytes()
    assert train_stage(QUICK, run, minutes=STEP, resume=True) == spent == complete(QUICK, run.where)
    assert run.where.weights(ALONE).read_bytes() == state
    more = train_stage(QUICK, run, minutes=spent.seconds / 60 + STEP, resume=True)
    assert starts == [0, 1]
    assert (more.steps, more.images) == (2, 8)
    assert complete(QUICK, run.where) == more
    assert run.where.weights(ALONE).read_bytes() != state


@pytest.mark.parametrize("rank", [None, "0", "1"])
def test_of_a_crew_one_begins_the_further_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str | None) -> None:
    begun: list[tuple[Path, Path]] = []
    if rank is not None:
        monkeypatch.setenv(train_command.CREW, rank)
    monkeypatch.setattr(rounds, "go_on", lambda *told: begun.append(told))
    monkeypatch.setattr(train_command, "_train", lambda args: False)
    source, out = tmp_path / "source", tmp_path / "out"
    assert main(["train", "--here", "--from", str(source), "--stage", BASES[0], "--out", str(out)]) == 0
    assert begun == ([] if rank == "1" else [(source, out)])


SAVING = 1.0  # seconds
# The stage with small batches, a log of every step and a slow disk, through the command line.
TRAIN = f"""
import sys, time
from dataclasses import replace
from lib_anyms.standalone.sprites import training
from lib_anyms.standalone.cli import main
from lib_anyms.standalone.sprites.stages import STAGES
stage = STAGES["{ALONE}"]
STAGES["{ALONE}"] = replace(stage, plan=replace(stage.plan, batch=4, log_every=0))
save = training.save_file
training.save_file = lambda *told: (print("saving", flush=True), time.sleep({SAVING}), save(*told))
sys.exit(main(["train", "--here", "--stage", "{ALONE}", "--minutes", "60", "--workers", "1", "--out", sys.argv[1]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_told_to_end_a_training_saves_itself_and_can_be_gone_on_with(tmp_path: Path, unprobed: None, starts: list[int]) -> None:
    """SIGTERM goes to the process that trains and to the one that draws, as from a shell or a service manager.

    And once more while it saves: torchrun passes on what has already reached all.
    """
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "run")]
    output = tmp_path / "output"
    where = Where(tmp_path / "run")
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=file, stderr=file, start_new_session=True)
        try:
            wait_for(lambda: steps_in(where) >= 3, process)
            os.killpg(process.pid, signal.SIGTERM)
            wait_for(lambda: b"saving" in output.read_bytes(), process)
            os.killpg(process.pid, signal.SIGTERM)
            assert process.wait(SECONDS) == INTERRUPTED, output.read_text(encoding="utf-8")
            wait_for(lambda: not alive(process.pid))  # nobody stays behind
        finally:
            if alive(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    told = output.read_text(encoding="utf-8")
    assert "AnyMS: interrupted." in told
    assert "Traceback" not in told
    assert not where.weights(ALONE).exists()
    steps = steps_in(where)
    spent = train_stage(QUICK, Run(where, minutes=0, workers=0), minutes=STEP, resume=True)  # its time is over: no step more
    assert starts == [spent.steps]
    assert spent.steps in (steps, steps + 1)  # the last one may have been cut off before it was noted
    assert spent.images == 4 * spent.steps


def steps_in(where: Where) -> int:
    log = where.out / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return json.loads(lines[-1])["step"] if lines else 0


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(true, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert process is None or process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_stage_that_is_refused_leaves_nothing_behind_and_one_that_ran_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    refusal(["--stage", BASES[-1]], out, capsys)
    assert not out.exists()
    state = Where(out).state(ALONE)
    state.parent.mkdir(parents=True)
    state.write_bytes(b"hours of work")
    for arguments in ([], ["--stage", ALONE]):
        assert "--resume" in refusal(arguments, out, capsys)
    assert state.read_bytes() == b"hours of work"
