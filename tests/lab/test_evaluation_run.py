"""An evaluation from the command line to its report, at one step of a model with random weights; and how it resumes."""

from __future__ import annotations

import base64
import io
import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.job.request import Request
from lib_anyms.lab.commands.evaluate import fewer
from lib_anyms.lab.evaluation import suites
from lib_anyms.lab.evaluation.pictures import (
    DiffusersPainter,
    Files,
    Settings,
    WebUIPainter,
    box_masks,
    files_in,
    own_files,
)
from lib_anyms.lab.evaluation.results import ON_DIFFUSERS, check_bars
from lib_anyms.lab.evaluation.run import SCORES, Evaluation, Worker, evaluate, label, read_records, score_cells
from lib_anyms.lab.evaluation.scenes import Task, make_task
from lib_anyms.lab.evaluation.scoring import METRICS, Judge
from lib_anyms.lab.evaluation.suites import GLOBALS, MODES, OURS, PEER, REAL, TEXT, Cell, SuiteRow, cells_of
from lib_anyms.layout.geometry import Box
from lib_anyms.standalone.cli import REFUSED, main
from lib_anyms.standalone.pipeline import write_configs
from lib_anyms.standalone.random_sdxl import write_random_sdxl
from lib_anyms.standalone.structure import SPRITES
from tests.support.files import random_files

SMALL_SUITE = (
    SuiteRow("disjoint", (2,), {OURS: 2, **dict.fromkeys((TEXT, PEER, *GLOBALS), 1)}),
    SuiteRow("disjoint", (1,), {OURS: 1}),
)
ONE_STEP = Settings(steps=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world's files, untrained."""
    path = tmp_path_factory.mktemp("sprites")
    write_random_sdxl(path, SPRITES, adapters=("base",))
    return path


@pytest.fixture
def evaluation(folder: Path, tmp_path: Path) -> Evaluation:
    return Evaluation(files_in(folder), ONE_STEP, tmp_path / "out")


def quiet(_line: str) -> None:
    pass


def test_from_the_command_line_and_once_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(suites.SUITES, "quick", SMALL_SUITE)
    out, json_file = tmp_path / "out", tmp_path / "numbers.json"
    command = ["evaluate", "--here", "--files", str(folder), "--out", str(out), "--json", str(json_file)]
    command += ["--steps", "1", "--processes", "1"]
    assert main([*command, "--scenes", "5"]) == 0
    printed = capsys.readouterr().out
    assert "making 3 renderings and 8 images" in printed
    written = json.loads(json_file.read_text(encoding="utf-8"))
    assert set(written) == {"suite", "versions", "seconds", "rows"}
    assert set(written["versions"]["files"]) == {"checkpoint", "encoder", "adapter-base"}
    rows, modes = written["rows"], {REAL, TEXT, PEER, OURS, *GLOBALS}
    assert {row["mode"] for row in rows} == modes | {
        f"{OURS} minus {name}" for name in (REAL, TEXT, PEER, "best global")
    }
    assert all(mode in printed for mode in modes)
    columns = {"mode", "layout", "subjects", "adapter", "metric", "value", "low", "high", "share", "chance", "n"}
    for row in rows:
        assert set(row) == (columns if row["value"] is not None else columns | {"reason"})
        assert row["value"] is None or row["low"] <= row["value"] <= row["high"]
    assert {row["metric"] for row in rows} == set(METRICS) - {"identity_top"}
    assert all(row["value"] is None for row in rows if row["metric"] == "clip_t")
    assert Image.open(out / "sheet-disjoint-2.png").width > 6 * 192
    assert {path.name for path in out.glob("by-*.png")} == {"by-layout.png", "by-subjects.png"}
    lines = (out / SCORES).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 11

    monkeypatch.setattr(Worker, "score", None)  # scored images are not made again
    assert main([*command, "--bars"]) == 1
    printed = capsys.readouterr().out
    assert "making 0 renderings and 0 images" in printed
    assert "FAIL  identity of crop-merge minus text-only, disjoint 3" in printed
    assert (out / SCORES).read_text(encoding="utf-8").splitlines() == lines
    assert json.loads(json_file.read_text(encoding="utf-8"))["rows"] == rows


def test_a_slow_host_gets_fewer_scenes() -> None:
    cells = cells_of(SMALL_SUITE)
    assert {cell.scenes for cell in cells} == {1, 2}
    assert {cell.scenes for cell in fewer(cells, 1)} == {1}
    assert fewer(cells, 9) == fewer(cells, None) == cells


def test_an_interrupted_evaluation_resumes(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(REAL, "disjoint", 1, None, 3), Cell(REAL, "unseen-shape", 1, None, 2)]
    score, jobs = Worker.score, []

    def interrupted(worker: Worker, cell: Cell, number: int) -> Any:
        jobs.append((cell.layout, number))
        if len(jobs) == 4:
            raise KeyboardInterrupt
        return score(worker, cell, number)

    monkeypatch.setattr(Worker, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_cells(evaluation, cells, quiet)
    assert jobs == [("disjoint", 0), ("unseen-shape", 0), ("disjoint", 1), ("unseen-shape", 1)]
    file = evaluation.out / SCORES
    file.write_text(file.read_text(encoding="utf-8") + '{"key": "cut o', encoding="utf-8")
    scores = score_cells(evaluation, cells, quiet)
    assert jobs[4:] == [("unseen-shape", 1), ("disjoint", 2)]
    assert [sorted(scores[evaluation.key(cell)]) for cell in cells] == [[0, 1, 2], [0, 1]]
    assert scores == read_records(evaluation.out)


def test_the_key_of_a_score_depends_on_what_made_it(evaluation: Evaluation) -> None:
    cell = Cell(OURS, "disjoint", 3, "base", 5)
    cells = [cell, replace(cell, mode="masked-sum"), replace(cell, layout="touching"), replace(cell, adapter="plus")]
    changed = [Settings(steps=2), Settings(steps=1, seed=1), Settings(steps=1, host="http://127.0.0.1:1")]
    keys = {evaluation.key(one) for one in cells}
    keys |= {replace(evaluation, settings=settings).key(cell) for settings in changed}
    assert len(keys) == 7
    assert evaluation.key(replace(cell, scenes=500)) == evaluation.key(cell)
    real = Cell(REAL, "disjoint", 3, None, 5)
    assert replace(evaluation, settings=changed[0]).key(real) == evaluation.key(real)
    assert label(cell) == "crop-merge disjoint 3 base"


def test_every_mode_makes_another_picture_of_the_same_scene(folder: Path) -> None:
    painter = DiffusersPainter(replace(files_in(folder), size=128), ONE_STEP)
    task = make_task("overlap-30", 3, 0)
    modes = [mode for mode in MODES if mode != REAL]
    pictures = {mode: painter.paint(task, mode, "base" if MODES[mode].adapter else None).tobytes() for mode in modes}
    assert len(set(pictures.values())) == len(modes)
    assert pictures[OURS] == painter.paint(task, OURS, "base").tobytes()


def test_diffusers_own_adapter_is_ours_where_a_single_subject_has_the_whole_picture(folder: Path) -> None:
    painter = DiffusersPainter(files_in(folder), replace(ONE_STEP, steps=2))
    task = make_task("single", 1, 0)
    ours, theirs = painter.paint(task, OURS, "base"), painter.paint(task, PEER, "base")
    assert distance(ours, theirs) <= 1 < distance(ours, painter.paint(task, TEXT, None))


def distance(one: Image.Image, other: Image.Image) -> int:
    return max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes()))


def test_masks_are_the_boxes() -> None:
    masks = box_masks((Box(0, 0, 0.5, 1), Box(0.25, 0.5, 1, 0.75)), 8)
    assert masks.shape == (1, 2, 8, 8)
    assert masks[0, 0].nonzero().amax(0).tolist() == [7, 3]
    assert masks[0, 1].nonzero().amin(0).tolist() == [4, 2]
    assert masks[0, 1].sum() == 2 * 6


def test_of_another_model_only_what_needs_no_oracle_is_measured(tmp_path: Path) -> None:
    paths = random_files()
    files = own_files(paths.checkpoint, paths.adapters["plus"], paths.encoder, None)
    assert list(files.adapters) == ["plus"]
    lines: list[str] = []
    cells = [Cell(OURS, "disjoint", 2, "base", 1), Cell(OURS, "disjoint", 2, "plus", 1)]
    outcome = evaluate(Evaluation(files, ONE_STEP, tmp_path / "out"), "disjoint", None, lines.append, cells)
    results = {result.metric: result for result in outcome.results}
    assert "left out: 1 cells" in lines[0]
    assert results["clip_i"].value is not None
    assert results["identity"].value is None
    assert "the oracle knows the small world only" in results["identity"].reason
    assert not any(bar.passed for bar in outcome.bars)


class FakeWebUI(BaseHTTPRequestHandler):
    """A WebUI's API: keeps the jobs, and answers with the rendering of a fixed scene, or with a failure."""

    jobs: list[dict[str, Any]] = []
    scripts = ["anyms"]
    failure: tuple[int, dict[str, Any]] | None = None
    info = ""
    options = {"sd_model_checkpoint": "sprites [1234]", "sgm_noise_multiplier": False, "randn_source": "CPU"}

    def do_GET(self) -> None:
        answers = {"/sdapi/v1/scripts": {"txt2img": self.scripts}, "/sdapi/v1/options": self.options}
        self._answer(200, answers[self.path])

    def do_POST(self) -> None:
        self.jobs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        data = io.BytesIO()
        make_task("disjoint", 2, 0).rendering().save(data, "PNG")
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
    monkeypatch.setattr(FakeWebUI, "jobs", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeWebUI)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def on(webui: str, files: Files) -> tuple[WebUIPainter, Task]:
    return WebUIPainter(files, replace(ONE_STEP, host=webui)), make_task("disjoint", 2, 0)


def test_a_webui_gets_the_same_layouts(webui: str, evaluation: Evaluation) -> None:
    cells = [
        Cell(REAL, "disjoint", 2, None, 1),
        Cell(TEXT, "disjoint", 2, None, 1),
        Cell(OURS, "disjoint", 2, "base", 1),
    ]
    score_cells(evaluation, cells[2:], quiet)  # on diffusers
    lines: list[str] = []
    there = replace(evaluation, settings=replace(ONE_STEP, host=webui))
    outcome = evaluate(there, "quick", None, lines.append, [*cells, Cell(PEER, "disjoint", 2, "base", 1)])
    assert lines[0] == "left out: diffusers-masks, which a WebUI with AnyMS cannot make"
    assert lines[1].endswith("change the host's setting sgm_noise_multiplier from False to True")
    text, ours = FakeWebUI.jobs
    task = make_task("disjoint", 2, 0)
    assert text["alwayson_scripts"] == {}
    for body in (text, ours):
        assert (body["prompt"], body["seed"], body["width"], body["height"]) == (task.prompt, task.noise, 256, 256)
        assert (body["steps"], body["cfg_scale"], body["sampler_name"]) == (1, 4.0, "Euler")
    (request,) = ours["alwayson_scripts"]["AnyMS"]["args"]
    assert (request["mode"], request["scale"]) == (OURS, 2.0)
    assert (request["adapter"], request["encoder"]) == ("adapter-base.safetensors", "encoder.safetensors")
    assert [tuple(subject["box"]) for subject in request["subjects"]] == [(b.x0, b.y0, b.x1, b.y1) for b in task.boxes]
    assert all(len(subject["images"]) == 1 for subject in request["subjects"])
    values = {(result.mode, result.metric): result.value for result in outcome.results}
    assert values[OURS, "clip_i"] == values[REAL, "clip_i"] != values[ON_DIFFUSERS, "clip_i"]
    written = json.loads((there.out / "results.json").read_text(encoding="utf-8"))
    assert written["versions"]["settings"]["loaded"] == "sprites [1234]"
    same = [bar for bar in check_bars("quick", outcome.results) if "within diffusers'" in bar.name]
    assert [bar.name.split()[0] for bar in same] == ["identity", "miou"]


def test_a_webui_gets_the_subjects_own_prompts(webui: str, folder: Path) -> None:
    painter, task = on(webui, files_in(folder))
    for mode, adapter, scale in ((suites.WORDS, "base", 2.0), ("words-only", None, 0.0)):
        painter.paint(task, mode, adapter)
        (request,) = FakeWebUI.jobs[-1]["alwayson_scripts"]["AnyMS"]["args"]
        assert [subject["name"] in subject["prompt"] for subject in request["subjects"]] == [True, True]
        assert (request["elsewhere"], request["scale"]) == (task.scene.background, scale)
        assert request["adapter"] == "adapter-base.safetensors"
        assert Request.from_json(request).has_words


def test_diffusers_gets_a_mask_for_each_reference_image(evaluation: Evaluation) -> None:
    class Several(Task):
        def references(self) -> Any:
            first, second = super().references()
            return first * 3, second

    task = make_task("disjoint", 2, 0)
    several = Several(**{field.name: getattr(task, field.name) for field in fields(Task)})
    painter = DiffusersPainter(evaluation.files, ONE_STEP)
    with_three, with_one = (painter.paint(one, PEER, "base") for one in (several, task))
    assert with_three.size == with_one.size == (256, 256)
    assert with_three.tobytes() != with_one.tobytes()


def test_the_strength_of_diffusers_masks_fades_as_ours(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[float] = []
    setting = StableDiffusionXLPipeline.set_ip_adapter_scale
    monkeypatch.setattr(
        StableDiffusionXLPipeline,
        "set_ip_adapter_scale",
        lambda self, scale: scales.append(scale) or setting(self, scale),
    )
    painter = DiffusersPainter(evaluation.files, Settings(steps=4, scale=2.0, fade=0.5))
    for layout, subjects, expected in (("disjoint", 2, [2, 1, 1, 1]), ("single", 1, [1, 1, 1, 1])):
        scales.clear()
        painter.paint(make_task(layout, subjects, 0), PEER, "base")
        assert scales[:4] == expected  # of the first step and after each; the last one's is not used


def test_a_webui_without_the_extension_is_refused(webui: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeWebUI, "scripts", ["controlnet"])
    with pytest.raises(Refused, match="has no script AnyMS") as refusal:
        on(webui, files_in(folder))
    again = pickle.loads(pickle.dumps(refusal.value))  # as another process hands it over
    assert (type(again), str(again)) == (Refused, str(refusal.value))


@pytest.mark.parametrize(
    ("failure", "info", "sentence"),
    [
        (
            (500, {"errors": "AnyMS: mode of the request is 'one-softmax'"}),
            "",
            "made no image .AnyMS: mode of the request",
        ),
        ((404, {"detail": "Not Found"}), "", "made no image .Not Found"),
        ((200, {"images": []}), "", "made no image .no image"),
        (None, "AnyMS skipped: the loaded model is not of the adapter's family", "AnyMS skipped: the loaded model"),
    ],
)
def test_the_message_of_a_webui_without_a_picture_is_handed_on(
    webui: str, folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, info: str, sentence: str
) -> None:
    painter, task = on(webui, files_in(folder))
    monkeypatch.setattr(FakeWebUI, "failure", failure)
    monkeypatch.setattr(FakeWebUI, "info", info)
    with pytest.raises(Refused, match=sentence):
        painter.paint(task, "one-softmax", "base")


def test_a_mode_only_diffusers_has_is_refused_by_name(webui: str, folder: Path) -> None:
    painter, task = on(webui, files_in(folder))
    with pytest.raises(Refused, match="cannot make images in the mode diffusers-masks"):
        painter.paint(task, PEER, "base")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "localhost:7860"], "--host is 'localhost:7860'"),
        (["--host", "http://127.0.0.1:9"], "does not answer like a WebUI's API"),
        (["--adapter", "a.safetensors"], "--adapter was used with no --checkpoint"),
        (["--files", "nowhere"], "there is no such file"),
        (["--clip", "nowhere"], "there is no such folder"),
        (["--steps", "0"], "--steps is 0"),
        (["--scenes", "0"], "--scenes is 0"),
    ],
)
def test_impossible_options_are_refused_in_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    command = ["evaluate", "--here", "--files", str(folder), "--out", str(tmp_path / "out"), *options]
    assert main(command) == REFUSED
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_clip_sees_pictures_and_prompts(folder: Path, tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    write_configs(tmp_path / "configs", SPRITES)
    CLIPTokenizer.from_pretrained(str(tmp_path / "configs" / "tokenizer")).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor().save_pretrained(tmp_path / "clip")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=small, vision_config={**small, "patch_size": 56})).save_pretrained(
        tmp_path / "clip"
    )
    judge, task = Judge(files_in(folder, tmp_path / "clip")), make_task("disjoint", 1, 0)
    values = judge.score(task.rendering(), task)
    assert judge.reasons == {}
    assert -1 <= values["clip_t"] <= 1
    assert values["clip_t"] != judge.score(task.rendering(), replace(task, prompt="night"))["clip_t"]
    assert values["clip_i"] > judge.score(Image.new("RGB", (256, 256), "navy"), task)["clip_i"]
