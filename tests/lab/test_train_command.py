"""`python -m lib_anyms train`: refusals; and a signal to end saves the training, so it can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib_anyms.lab.commands import train as train_module
from lib_anyms.lab.train import export as exporting
from lib_anyms.lab.train import stages, trainer
from lib_anyms.lab.train.stages import STAGES, Run
from lib_anyms.lab.train.trainer import TrainContext
from lib_anyms.standalone.cli import INTERRUPTED, REFUSED, main
from lib_anyms.standalone.structure import Structure

ALONE = "text"  # a stage that needs no other, and whose steps are fast


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The calls for training and export, which do nothing here."""
    seen: list[tuple] = []

    def recorded(name: str, result: object = None) -> Callable[..., object]:
        return lambda *args: seen.append((name, *args)) or result

    monkeypatch.setattr(stages, "train_all", recorded("all"))
    monkeypatch.setattr(stages, "train_stage", recorded("stage"))
    monkeypatch.setattr(exporting, "start_from", recorded("start"))
    monkeypatch.setattr(exporting, "export", recorded("export", []))
    monkeypatch.setattr(train_module, "store", recorded("store"))
    return seen


def train(out: Path, *arguments: str) -> int:
    return main(["train", "--here", "--out", str(out), *arguments])


def refusal(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str) -> str:
    assert train(out, *arguments) == REFUSED
    message = capsys.readouterr().err
    assert message.startswith("AnyMS: ")
    assert message.count("\n") == 1
    return message


def test_an_unknown_stage_is_refused_with_a_list_of_the_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, tmp_path / "out", "--stage", "nonsense")
    assert "'nonsense'" in message
    assert ", ".join(STAGES) in message
    assert not (tmp_path / "out").exists()


def test_a_stage_and_the_export_need_the_stages_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the stage unet needs the finished stage text" in refusal(
        capsys, tmp_path, "--stage", "unet", "--minutes", "1"
    )
    assert "the stage export needs the finished stage unet" in refusal(capsys, tmp_path, "--export")
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("arguments", [[], ["--stage", ALONE]])
def test_a_training_does_not_overwrite_another(
    tmp_path: Path, calls: list[tuple], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    state = TrainContext(tmp_path).state(ALONE)
    state.parent.mkdir(parents=True)
    state.write_bytes(b"hours of work")
    assert "--resume" in refusal(capsys, tmp_path, *arguments)
    assert state.read_bytes() == b"hours of work"
    assert calls == []


def test_the_options_reach_training_and_export(tmp_path: Path, calls: list[tuple]) -> None:
    out, context = tmp_path / "out", TrainContext(tmp_path / "out")
    assert train(out, "--minutes", "7", "--seed", "3", "--bundle") == 0
    assert calls == [
        ("all", Run(context, 7.0, 3), False),
        ("export", out, out / "files"),
        ("store", out / "files"),
    ]
    calls.clear()
    assert train(out, "--resume") == 0  # with the settings of its start
    assert calls == [("all", Run(context, 7.0, 3), True), ("export", out, out / "files")]
    calls.clear()
    assert train(out, "--stage", "decoder", "--minutes", "2") == 0
    assert calls == [("stage", STAGES["decoder"], Run(context, 7.0, 3), 2.0, False)]
    calls.clear()
    assert train(out, "--export") == 0
    assert calls == [("export", out, out / "files")]
    assert train(tmp_path / "new") == 0
    assert calls[1] == ("all", Run(TrainContext(tmp_path / "new"), train_module.MINUTES, 0), False)


def test_a_training_starts_from_exported_files_once(tmp_path: Path, calls: list[tuple]) -> None:
    out, files = tmp_path / "out", tmp_path / "files"
    assert train(out, "--minutes", "7", "--start", str(files)) == 0
    assert calls[:2] == [("start", files, out), ("all", Run(TrainContext(out), 7.0, 0), True)]
    calls.clear()
    assert train(out, "--resume", "--start", str(files)) == 0
    assert calls[0] == ("all", Run(TrainContext(out), 7.0, 0), True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_saves_the_training_for_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """From a service manager or Ctrl-C; a second signal comes during the save."""
    context, before, save = TrainContext(tmp_path), signal.getsignal(number), trainer.save_file
    steps = []

    class Interrupted(stages.TextLearner):
        def __init__(self, structure: Structure, seed: int) -> None:
            super().__init__(structure, seed, batch=2)

        def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
            steps.append(share)
            if len(steps) == 4:
                signal.raise_signal(number)
            return super().step(share)

        def probe(self, context: TrainContext) -> dict[str, float]:
            return {}

    def save_slowly(*args: object) -> None:
        if len(steps) == 4:
            signal.raise_signal(number)
        save(*args)

    monkeypatch.setattr(stages, "TextLearner", Interrupted)
    monkeypatch.setattr(trainer, "save_file", save_slowly)
    assert train(tmp_path, "--stage", ALONE, "--minutes", "60") == INTERRUPTED
    assert capsys.readouterr().err == "AnyMS: interrupted.\n"
    assert signal.getsignal(number) == before
    assert not context.weights(ALONE).exists()
    saved = context.progress_of(ALONE)
    assert saved is not None
    assert (saved.steps, saved.pictures) == (3, 6)
    assert train(tmp_path, "--stage", ALONE, "--resume", "--minutes", str(saved.seconds / 60 + 1e-7)) == 0
    assert len(steps) == 5  # its time was nearly over
    assert context.progress_of(ALONE).steps == 4
    assert context.weights(ALONE).exists()
