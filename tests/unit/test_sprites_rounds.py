"""A further round goes on from the one before, and the card tells of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib_anyms.errors import Refused
from lib_anyms.standalone.cli import REFUSED, main
from lib_anyms.standalone.sprites.curve import first_round, read_log
from lib_anyms.standalone.sprites.export import card
from lib_anyms.standalone.sprites.rounds import earlier, go_on
from lib_anyms.standalone.sprites.stages import RUN, Run, latest_adapter, latest_base, settings
from lib_anyms.standalone.sprites.training import LOG, Where

ONCE = ("text", "vision", "decoder", "oracle")


def trained(out: Path, *stages: str, value: float = 1.0) -> Path:
    """A folder with the weights of these stages, each of one number."""
    for number, name in enumerate(stages, 1):
        path = Where(out).weights(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = {"unet.x": torch.tensor([value]), "adapter-base.y": torch.tensor([value])}
        save_file(weights, str(path), {"spent": json.dumps({"steps": number, "images": 10 * number, "seconds": 60.0})})
    (out / RUN).write_text('{"minutes": 9, "seed": 4}', encoding="utf-8")
    Where(out).note(stage="mixed", images=20, loss=value)
    return out


def test_a_round_goes_on_from_the_latest_weights_and_leaves_its_source(tmp_path: Path) -> None:
    source = trained(tmp_path / "first", *ONCE, "base16", "mixed", "last", value=2.0)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    go_on(source, tmp_path / "second")
    assert before == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    run = Run(Where(tmp_path / "second"), 0)
    assert latest_base(run, "mixed")["x"].item() == latest_adapter(run, "base", "last")["y"].item() == 2.0
    assert {path.stem for path in (tmp_path / "second" / "weights").iterdir()} == {*ONCE, "before"}
    trained(tmp_path / "second", "mixed", value=3.0)
    assert latest_base(run, "last")["x"].item() == latest_adapter(run, "base", "last")["y"].item() == 3.0


def test_the_card_and_the_curves_tell_of_every_round_once(tmp_path: Path) -> None:
    go_on(trained(tmp_path / "1", *ONCE, "base16", "mixed"), tmp_path / "2")
    go_on(trained(tmp_path / "2", "mixed"), tmp_path / "3")
    trained(tmp_path / "3", "last")
    assert [list(one) for one in earlier(tmp_path / "3")] == [
        ["text", "vision", "decoder", "base16", "mixed", "oracle"],
        ["mixed"],
    ]
    rows = [row.split(" | ")[:3] for row in card(Run(Where(tmp_path / "3"), 0)).splitlines() if row.startswith("| ")][1:]
    assert [row[:2] for row in rows] == [
        *(["| 1", name] for name in ("text", "vision", "decoder", "base16", "mixed", "oracle")),
        ["| 2", "mixed"],
        ["| 3", "last"],
    ]
    assert list(read_log(tmp_path / "3" / LOG)) == ["mixed, round 1", "mixed, round 2", "mixed"]
    assert first_round(tmp_path / "3" / LOG, 3) == 1
    (tmp_path / "2" / LOG).write_text(json.dumps({"stage": "mixed", "images": 1, "loss": 1.0}))  # the first round's is lost
    go_on(tmp_path / "2", tmp_path / "4")
    assert first_round(tmp_path / "2" / LOG, 2) == first_round(tmp_path / "4" / LOG, 3) == 2


def test_a_round_sees_other_pictures_than_the_one_before(tmp_path: Path) -> None:
    source = trained(tmp_path / "first", *ONCE, "base16")
    go_on(source, tmp_path / "second")
    assert [settings(folder, None, None, 0) for folder in (source, tmp_path / "second")] == [(9.0, 4), (9.0, 5)]


def test_nothing_to_go_on_from_and_a_folder_in_use_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(Refused, match="base16"):
        go_on(tmp_path / "none", tmp_path / "out")
    source = trained(tmp_path / "first", *ONCE, "base16")
    with pytest.raises(Refused, match="holds a training already"):
        go_on(source, source)
    assert main(["train", "--here", "--from", str(source), "--out", str(tmp_path / "out")]) == REFUSED
    assert "there is no stage ''" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_are_copied_and_not_shared(tmp_path: Path) -> None:
    source = trained(tmp_path / "first", *ONCE, "base16", value=5.0)
    go_on(source, tmp_path / "second")
    Where(source).weights("base16").unlink()
    assert load_file(str(Where(tmp_path / "second").weights("before")))["unet.x"].item() == 5.0
