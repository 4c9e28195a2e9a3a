"""An evaluation from the command line to its report, at one step of a model with random weights; and how it goes on."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lib_anyms.errors import Refused
from lib_anyms.geometry import Box
from lib_anyms.standalone.cli import REFUSED, main
from lib_anyms.standalone.evaluate_command import fewer
from lib_anyms.standalone.evaluation.bars import check_bars
from lib_anyms.standalone.evaluation.cells import GLOBALS, MODES, OURS, PEER, REAL, SUITES, TEXT, Cell, Group, cells_of
from lib_anyms.standalone.evaluation.evaluate import evaluate
from lib_anyms.standalone.evaluation.files import Files, files_given, files_in
from lib_anyms.standalone.evaluation.painting import DiffusersPainter, Settings, box_masks
from lib_anyms.standalone.evaluation.records import SCORES, read_records
from lib_anyms.standalone.evaluation.results import ON_DIFFUSERS
from lib_anyms.standalone.evaluation.scenes import Asked, ask
from lib_anyms.standalone.evaluation.scoring import Judge
from lib_anyms.standalone.evaluation.webui import WebUIPainter
from lib_anyms.standalone.evaluation.work import Bench, Evaluation, work
from lib_anyms.standalone.pipeline import write_configs
from lib_anyms.standalone.random_sdxl import write_random_sdxl
from lib_anyms.standalone.sprites.oracle_net import Finder
from lib_anyms.standalone.structure import SPRITES
from tests.support.files import random_files

SMALL_SUITE = (
    Group("disjoint", (2,), {OURS: 2, **dict.fromkeys((TEXT, PEER, *GLOBALS), 1)}),
    Group("single", (1,), {OURS: 1}),
)
QUICKLY = Settings(steps=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world's files, untrained."""
    made = tmp_path_factory.mktemp("sprites")
    write_random_sdxl(made, SPRITES, adapters=("base",))
    torch.manual_seed(0)
    net = Finder()
    torch.nn.init.constant_(net.out.bias[:1], -4.0)  # an untrained one sees a sprite in every cell
    save_file({name: weight.half().contiguous() for name, weight in net.state_dict().items()}, made / "oracle.safetensors")
    return made


@pytest.fixture
def evaluation(folder: Path, tmp_path: Path) -> Evaluation:
    return Evaluation(files_in(folder), QUICKLY, tmp_path / "out")


def quiet(_line: str) -> None:
    pass


def test_from_the_command_line_and_once_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SUITES, "quick", SMALL_SUITE)
    out, told = tmp_path / "out", tmp_path / "told.json"
    command = ["evaluate", "--here", "--files", str(folder), "--out", str(out), "--json", str(told)]
    command += ["--steps", "1", "--processes", "1"]
    assert main([*command, "--scenes", "5"]) == 0
    printed = capsys.readouterr().out
    assert "3 renderings and 8 pictures to make" in printed
    for mode in (REAL, TEXT, PEER, OURS, *GLOBALS):
        assert mode in printed
    rows = json.loads(told.read_text(encoding="utf-8"))["rows"]
    assert {row["mode"] for row in rows} == {REAL, TEXT, PEER, OURS, *GLOBALS} | {
        f"{OURS} minus {name}" for name in (REAL, TEXT, PEER, "best global")
    }
    assert all(row["value"] is None for row in rows if row["metric"] == "clip_t")
    assert Image.open(out / "sheet-disjoint-2.png").width > 6 * 192
    lines = (out / SCORES).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 11

    monkeypatch.setattr(Bench, "score", None)  # what is made once is not made again
    before = told.read_text(encoding="utf-8")
    assert main([*command, "--bars"]) == 1
    printed = capsys.readouterr().out
    assert "0 renderings and 0 pictures to make" in printed
    assert "FAIL  identity of crop-merge minus text-only, disjoint 3" in printed
    assert (out / SCORES).read_text(encoding="utf-8").splitlines() == lines
    again = json.loads(told.read_text(encoding="utf-8"))
    assert again["rows"] == json.loads(before)["rows"]


def test_a_slow_host_is_asked_for_fewer_scenes() -> None:
    cells = cells_of(SMALL_SUITE)
    assert {cell.scenes for cell in cells} == {1, 2}
    assert {cell.scenes for cell in fewer(cells, 1)} == {1}
    assert fewer(cells, 9) == fewer(cells, None) == cells


def test_what_was_broken_off_goes_on(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(REAL, "disjoint", 2, None, 3), Cell(REAL, "touching", 3, None, 2)]
    score, asked = Bench.score, []

    def breaks_off(bench: Bench, cell: Cell, number: int) -> Any:
        asked.append((cell.layout, number))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return score(bench, cell, number)

    monkeypatch.setattr(Bench, "score", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        work(evaluation, cells, quiet)
    assert asked == [("disjoint", 0), ("touching", 0), ("disjoint", 1), ("touching", 1)]
    file = evaluation.out / SCORES
    file.write_text(file.read_text(encoding="utf-8") + '{"key": "cut o', encoding="utf-8")
    asked.clear()
    asked.extend([("", 0)] * 4)
    told = work(evaluation, cells, quiet)
    assert asked[4:] == [("touching", 1), ("disjoint", 2)]
    assert [sorted(told[evaluation.key(cell)]) for cell in cells] == [[0, 1, 2], [0, 1]]
    assert told == read_records(evaluation.out)
    monkeypatch.undo()
    (evaluation.out / SCORES).unlink()
    assert work(evaluation, cells, quiet) == told, "in one go it is the same"


def test_several_processes_make_what_one_makes(evaluation: Evaluation, tmp_path: Path) -> None:
    cells = [Cell(REAL, "disjoint", 2, None, 4)]
    shared = replace(evaluation, out=tmp_path / "shared", processes=2)
    assert work(shared, cells, quiet) == work(evaluation, cells, quiet)


def test_all_modes_are_asked_for_the_same_scenes_and_make_different_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = DiffusersPainter(files_in(folder), QUICKLY)
    asked = ask("overlap-30", 3, 0)
    modes = [mode for mode in MODES if mode != REAL]
    made = {mode: painter.paint(asked, mode, "base" if MODES[mode].adapter else None).tobytes() for mode in modes}
    assert len(set(made.values())) == len(modes)
    assert made[OURS] == painter.paint(asked, OURS, "base").tobytes()


def test_diffusers_own_adapter_is_ours_where_a_single_subject_has_the_whole_picture(folder: Path) -> None:
    painter = DiffusersPainter(files_in(folder), replace(QUICKLY, steps=2))
    asked = ask("single", 1, 0)
    ours, theirs, text = (painter.paint(asked, mode, adapter) for mode, adapter in ((OURS, "base"), (PEER, "base"), (TEXT, None)))
    assert _apart(ours, theirs) <= 1
    assert _apart(ours, text) > 1


def _apart(one: Image.Image, other: Image.Image) -> int:
    return max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes()))


def test_masks_are_the_boxes() -> None:
    masks = box_masks((Box(0, 0, 0.5, 1), Box(0.25, 0.5, 1, 0.75)), 8)
    assert masks.shape == (1, 2, 8, 8)
    assert masks[0, 0].nonzero().amax(0).tolist() == [7, 3]
    assert masks[0, 1].nonzero().amin(0).tolist() == [4, 2]
    assert masks[0, 1].sum() == 2 * 6


def test_of_a_foreign_model_only_what_needs_no_oracle_is_measured(tmp_path: Path) -> None:
    own = random_files()
    files = files_given(own.checkpoint, own.adapters["plus"], own.encoder, None, None)
    assert list(files.adapters) == ["plus"]
    evaluation = Evaluation(files, QUICKLY, tmp_path / "out")
    said: list[str] = []
    cells = [Cell(OURS, "disjoint", 2, "base", 1), Cell(OURS, "disjoint", 2, "plus", 1)]
    outcome = evaluate(evaluation, "disjoint", None, said.append, cells)
    rows = {row.metric: row for row in outcome.rows}
    assert "left out: 1 cells" in said[0]
    assert rows["clip_i"].value is not None
    assert rows["identity"].value is None
    assert "the oracle knows sprites only" in rows["identity"].reason
    assert not any(bar.passed for bar in outcome.bars)


def test_without_an_oracle_it_is_said_why(folder: Path) -> None:
    assert files_in(folder).unjudged == ""
    assert replace(files_in(folder), oracle=None).unjudged == "there is no file of the oracle"


class Pretending(BaseHTTPRequestHandler):
    """A WebUI's API: notes what it is asked for, and answers with the rendering of a fixed scene, or with a failure."""

    asked: list[dict[str, Any]] = []
    scripts = ["anyms"]
    failure: tuple[int, dict[str, Any]] | None = None
    info = ""
    options = {"sd_model_checkpoint": "sprites [1234]", "sgm_noise_multiplier": False, "randn_source": "CPU"}

    def do_GET(self) -> None:
        told = {"/sdapi/v1/scripts": {"txt2img": self.scripts}, "/sdapi/v1/options": self.options}
        self._answer(200, told[self.path])

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        data = io.BytesIO()
        ask("disjoint", 2, 0).rendering().save(data, "PNG")
        body = {"images": [base64.b64encode(data.getvalue()).decode()], "info": self.info}
        self._answer(*(self.failure or (200, body)))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Pretending, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pretending)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def on(webui: str, files: Files) -> tuple[WebUIPainter, Asked]:
    return WebUIPainter(files, replace(QUICKLY, host=webui)), ask("disjoint", 2, 0)


def test_a_webui_is_asked_for_the_same_layouts(webui: str, evaluation: Evaluation) -> None:
    cells = [Cell(REAL, "disjoint", 2, None, 1), Cell(TEXT, "disjoint", 2, None, 1), Cell(OURS, "disjoint", 2, "base", 1)]
    work(evaluation, cells[2:], quiet)  # on diffusers
    said: list[str] = []
    there = replace(evaluation, settings=replace(QUICKLY, host=webui))
    outcome = evaluate(there, "quick", None, said.append, [*cells, Cell(PEER, "disjoint", 2, "base", 1)])
    assert said[0] == "left out: diffusers-masks, which a WebUI with AnyMS cannot make"
    assert said[1].endswith("change the host's setting sgm_noise_multiplier from False to True")
    text, ours = Pretending.asked
    scene = ask("disjoint", 2, 0)
    assert text["alwayson_scripts"] == {}
    for body in (text, ours):
        assert (body["prompt"], body["seed"], body["width"], body["height"]) == (scene.prompt, scene.noise, 256, 256)
        assert (body["steps"], body["cfg_scale"], body["sampler_name"]) == (1, 7.0, "Euler")
    (request,) = ours["alwayson_scripts"]["AnyMS"]["args"]
    assert (request["mode"], request["scale"]) == (OURS, 2.0)
    assert (request["adapter"], request["encoder"]) == ("adapter-base.safetensors", "encoder.safetensors")
    assert [tuple(subject["box"]) for subject in request["subjects"]] == [(b.x0, b.y0, b.x1, b.y1) for b in scene.boxes]
    assert all(len(subject["images"]) == 1 for subject in request["subjects"])
    values = {(row.mode, row.metric): row.value for row in outcome.rows}
    assert values[OURS, "clip_i"] == values[REAL, "clip_i"] != values[ON_DIFFUSERS, "clip_i"]
    written = json.loads((there.out / "results.json").read_text(encoding="utf-8"))
    assert written["versions"]["settings"]["loaded"] == "sprites [1234]"
    same = [bar for bar in check_bars("quick", outcome.rows) if "within diffusers'" in bar.name]
    assert [bar.name.split()[0] for bar in same] == ["identity", "miou"]


def test_a_webui_without_the_extension_is_refused(webui: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pretending, "scripts", ["controlnet"])
    with pytest.raises(Refused, match="has no script AnyMS"):
        on(webui, files_in(folder))


@pytest.mark.parametrize(
    ("failure", "info", "sentence"),
    [
        ((500, {"errors": "AnyMS: mode of the request is 'one-softmax'"}), "", "made no picture .AnyMS: mode of the request"),
        ((404, {"detail": "Not Found"}), "", "made no picture .Not Found"),
        ((200, {"images": []}), "", "made no picture .no picture"),
        (None, "AnyMS skipped: the loaded model is not of the adapter's family", "AnyMS skipped: the loaded model"),
    ],
)
def test_what_a_webui_says_instead_of_a_picture_is_handed_on(
    webui: str, folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, info: str, sentence: str
) -> None:
    painter, asked = on(webui, files_in(folder))
    monkeypatch.setattr(Pretending, "failure", failure)
    monkeypatch.setattr(Pretending, "info", info)
    with pytest.raises(Refused, match=sentence):
        painter.paint(asked, "one-softmax", "base")


def test_a_mode_only_diffusers_has_is_refused_by_name(webui: str, folder: Path) -> None:
    painter, asked = on(webui, files_in(folder))
    with pytest.raises(Refused, match="cannot make pictures in the mode diffusers-masks"):
        painter.paint(asked, PEER, "base")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "localhost:7860"], "--host is 'localhost:7860'"),
        (["--host", "http://127.0.0.1:9"], "does not answer as a WebUI's API does"),
        (["--adapter", "a.safetensors"], "--adapter was given with no --checkpoint"),
        (["--files", "nowhere"], "there is no such file"),
        (["--clip", "nowhere"], "there is no such folder"),
        (["--steps", "0"], "--steps is 0"),
        (["--scenes", "0"], "--scenes is 0"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    command = ["evaluate", "--here", "--files", str(folder), "--out", str(tmp_path / "out"), *options]
    assert main(command) == REFUSED
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_clip_of_ones_own_sees_pictures_and_prompts(folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    write_configs(tmp_path / "configs", SPRITES)
    CLIPTokenizer.from_pretrained(str(tmp_path / "configs" / "tokenizer")).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor().save_pretrained(tmp_path / "clip")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=small, vision_config={**small, "patch_size": 56})).save_pretrained(tmp_path / "clip")
    judge, asked = Judge(files_in(folder, tmp_path / "clip")), ask("disjoint", 2, 0)
    told = judge.score(asked.rendering(), asked)
    assert judge.reasons == {}
    assert -1 <= told["clip_t"] <= 1
    assert told["clip_t"] != judge.score(asked.rendering(), replace(asked, prompt="night"))["clip_t"]
    assert told["clip_i"] > judge.score(Image.new("RGB", (256, 256), "navy"), asked)["clip_i"]
