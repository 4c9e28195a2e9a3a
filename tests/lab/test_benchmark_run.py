"""A measurement from the command line to its report, at one step of a model with random weights; how it is shared."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.lab.benchmark import team as team_module
from lib_anyms.lab.benchmark.check import PUBLISHED, check
from lib_anyms.lab.benchmark.models import SMALL_WORLD, Spec
from lib_anyms.lab.benchmark.painting import BenchPainter, host_files, on_hosts
from lib_anyms.lab.benchmark.progress import Progress, duration
from lib_anyms.lab.benchmark.readers import read_bench
from lib_anyms.lab.benchmark.run import BENCH_MODES, PICTURES, Run, interrupted, make
from lib_anyms.lab.benchmark.scoring import Score, Specs
from lib_anyms.lab.benchmark.tables import ALL, CAUTION, Column, collect, lines
from lib_anyms.lab.benchmark.team import (
    DONE,
    RUNNING,
    Status,
    Team,
    alive,
    forget,
    statuses,
    wait_for_others,
    write_json,
)
from lib_anyms.lab.evaluation.pictures import Settings, files_in
from lib_anyms.lab.evaluation.suites import MODES, OURS, PEER, REAL, TEXT, WORDS
from lib_anyms.standalone.cli import REFUSED, main
from lib_anyms.standalone.processes import CHECKOUT
from lib_anyms.standalone.random_sdxl import write_random_sdxl
from lib_anyms.standalone.structure import SPRITES
from tests.support.bench_models import save_clip, save_dino

THREE = (TEXT, OURS, PEER)
SIDE = 64  # pixels
SCENES: dict[str, Any] = {
    "version": 1,
    "name": "two scenes",
    "scenes": [
        {
            "name": name,
            "prompt": f"a star and a house on {ground}",
            "background": ground,
            "group": group,
            "subjects": [
                {"name": "star", "files": ["star.png"], "box": [0.05, 0.3, 0.45, 0.8]},
                {"name": "house", "files": ["house.png"], "box": [0.55, 0.3, 0.95, 0.8]},
            ],
        }
        for name, ground, group in (("first", "grass", "day"), ("second", "night", "dark"))
    ],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world's files, untrained."""
    path = tmp_path_factory.mktemp("sprites")
    write_random_sdxl(path, SPRITES, adapters=("base",))
    return path


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dino(tmp_path_factory.mktemp("models") / "dino")


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench")
    for name, colour in (("star", "gold"), ("house", "navy")):
        Image.new("RGB", (64, 64), colour).save(path / f"{name}.png")
    (path / "scenes.json").write_text(json.dumps(SCENES), encoding="utf-8")
    return path


@pytest.fixture
def run(world: Path, bench_folder: Path, dino: Path, tmp_path: Path) -> Run:
    """Eight small pictures, scored by a model that is quick."""
    bench = read_bench(bench_folder).with_seeds((0, 1))
    specs, files = Specs((Spec("dino", dino),)), replace(files_in(world), size=SIDE)
    return Run(bench, files, Settings(steps=1, device="cpu"), specs, tmp_path / "out", (TEXT, OURS))


class Alone(Team):
    """One process, whatever the environment says; or one of several whose others are files only."""

    def __init__(self, count: int = 1) -> None:
        self._state = None
        self.number, self.count, self.device = 0, count, "cpu"

    def share(self, jobs: Any) -> Any:
        return list(jobs)[: -(-len(jobs) // self.count)]


def quiet(_line: str) -> None:
    pass


def command(world: Path, bench_folder: Path, out: Path, *more: str) -> list[str]:
    words = ["evaluate", "--here", "--bench", str(bench_folder), "--files", str(world), "--out", str(out)]
    return [*words, "--steps", "1", "--device", "cpu", "--size", str(SIDE), *more]


def test_from_the_command_line_and_once_more_with_a_further_model(
    world: Path, bench_folder: Path, dino: Path, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out, clip = tmp_path / "out", save_clip(tmp_path / "clip")
    words = command(
        world, bench_folder, out, "--modes", ",".join(THREE), "--clip", str(clip), "--detector", SMALL_WORLD
    )
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "0 of 6 pictures are there; 6 to make or score by one process" in printed
    titles = ["mIoU, the small world's templates, x 100", "image, found, CLIP ViT-width-16/32, x 100"]
    titles += ["text, CLIP ViT-width-16/32, x 100", "text, CLIP ViT-width-16/32, x 250"]
    for title in titles:
        assert f"\n{title}: " in printed
    assert "paper: AnyMS, table 1 49.75 (its mIoU)" in printed
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert {row["mode"] for row in results["rows"]} == set(THREE)
    assert {row["group"] for row in results["rows"]} == {ALL, "day", "dark"}
    assert results["caution"] == CAUTION
    assert results["settings"]["settings"]["side"] == SIDE
    assert all(cost["seconds"] > 0 and cost["n"] == 2 for cost in results["costs"].values())
    assert len(list((out / PICTURES).glob("*.png"))) == 6

    monkeypatch.setattr(BenchPainter, "paint", None)  # no picture is made again
    assert main([*words, "--dino", str(dino)]) == 0
    printed = capsys.readouterr().out
    assert "scoring 6 pictures with dino dino" in printed
    assert printed.count("scoring ") == 1
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [row for row in again if "DINO" not in row["model"]] == results["rows"]
    html = (out / "report.html").read_text(encoding="utf-8")
    assert html.count("<table") == html.count(escape(CAUTION)) == 3 * 9 + 1
    assert html.count("<img") >= 2 * (2 + 3)
    assert "http" not in html
    assert "<h2>day</h2>" in html


def test_two_processes_make_the_same_table_as_one(world: Path, bench_folder: Path, dino: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    rows = []
    for count in (1, 2):
        out = tmp_path / f"out-{count}"
        words = command(world, bench_folder, out, "--modes", f"{TEXT},{OURS}", "--seeds", "2", "--dino", str(dino))
        if count == 1:
            assert main(words) == 0
        else:
            _launch(words, count)
        rows.append(json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"])
        assert len(list((out / PICTURES).glob("*.png"))) == 8
        assert [(one.state, one.finished, one.total) for one in statuses(out)] == [
            (DONE, 8 // count, 8 // count)
        ] * count
    assert rows[0] == rows[1]


def _launch(words: list[str], count: int) -> None:
    """As torchrun and accelerate start processes: by these variables of the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for number in range(count):
        own = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        environ = {**os.environ, **own}
        program = [sys.executable, "-m", "lib_anyms", *words]
        processes.append(subprocess.Popen(program, env=environ, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors[-2000:]


def test_an_interrupted_measurement_makes_no_picture_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    paint, jobs = BenchPainter.paint, []

    def interrupted_after_three(painter: BenchPainter, sample: Any, mode: str) -> Any:
        jobs.append((sample.scene.name, sample.seed, mode))
        if len(jobs) == 4:
            raise KeyboardInterrupt
        return paint(painter, sample, mode)

    monkeypatch.setattr(BenchPainter, "paint", interrupted_after_three)
    with pytest.raises(KeyboardInterrupt):
        make(run, Alone(), quiet)
    assert "process 0" in interrupted(run, Alone())
    assert "after 3 of 8 pictures" in interrupted(run, Alone())
    said: list[str] = []
    make(run, Alone(), said.append)
    assert said[0].startswith("the last run lost process 0")
    assert said[1].startswith("0 of 8 pictures are there; 8 to make or score")  # three are made, none is scored
    assert len(jobs) == 4 + 5
    assert len(set(jobs)) == 8
    assert not run.missing()
    assert interrupted(run, Alone()) == ""


def test_the_first_process_makes_what_a_lost_one_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module, "LOST", 0.2)
    monkeypatch.setattr(team_module, "BEAT", 0.05)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "to make or score" in line:  # the other one starts, makes one picture, and is killed
            other = Status(1, RUNNING, 1, 4, time.time(), "other")
            write_json(run.out / "processes" / "process-1.json", other.__dict__)

    make(run, Alone(2), say)
    assert not run.missing()
    assert any(line.startswith("lost process 1 (other) after 1 of 4 pictures") for line in said)


def test_a_process_that_never_starts_is_lost_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module, "LOST", 0.1)
    monkeypatch.setattr(team_module, "BEAT", 0.02)
    (tmp_path / "processes").mkdir()
    with alive(tmp_path, 1, 5) as finished:
        finished()
    assert [(one.number, one.state, one.finished) for one in statuses(tmp_path)] == [(1, DONE, 1)]
    assert [status.number for status in wait_for_others(tmp_path, 3, quiet)] == [2]
    forget(tmp_path, quiet)
    assert statuses(tmp_path) == []


def test_a_process_shows_signs_of_life_while_a_picture_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_module, "BEAT", 0.02)
    (tmp_path / "processes").mkdir()
    with alive(tmp_path, 0, 5):
        first = statuses(tmp_path)[0].time
        time.sleep(0.3)
        assert statuses(tmp_path)[0].time > first
    with pytest.raises(ZeroDivisionError), alive(tmp_path, 0, 5):
        raise ZeroDivisionError
    assert statuses(tmp_path)[0].state == RUNNING


def test_what_decides_a_picture_and_what_does_not(run: Run) -> None:
    job = run.jobs()[0]
    key = run.key(job)
    for same in (replace(run, settings=replace(run.settings, device="cuda")), replace(run, modes=(OURS, TEXT))):
        assert same.key(job) == key
    for change in ({"steps": 2}, {"guidance": 1.0}, {"scale": 1.5}):
        assert replace(run, settings=replace(run.settings, **change)).key(job) != key
    keys = {run.key(one) for one in run.jobs()}
    assert len(keys) == len(run.jobs()) == 8
    assert replace(run, files=replace(run.files, size=128)).key(job) != key


def test_the_peers_pictures_come_last_and_in_turn_replace_the_pipeline(run: Run) -> None:
    with_peer = replace(run, modes=THREE)
    assert [mode == PEER for _, mode in with_peer.jobs()] == [False] * 8 + [True] * 4
    painter = BenchPainter(with_peer.files, with_peer.settings)
    sample = with_peer.samples()[0]
    pictures = {}
    for mode in (OURS, PEER, OURS):
        picture, cost = painter.paint(sample, mode)
        assert cost.seconds > 0
        assert pictures.setdefault(mode, picture).tobytes() == picture.tobytes(), "the peer left something behind"
    assert pictures[OURS].tobytes() != pictures[PEER].tobytes()


def test_all_modes_take_part(bench_folder: Path) -> None:
    assert {TEXT, "global-sum", "one-softmax", "masked-sum", PEER, OURS, WORDS} <= set(BENCH_MODES) <= set(MODES)
    assert REAL not in BENCH_MODES


def put(run: Run, values: dict[str, dict[tuple[str, int], float]]) -> None:
    """Scores as if the pictures were there."""
    for job in run.jobs():
        sample, mode = job
        path = run.score_file(job, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        value = values[mode].get((sample.scene.name, sample.seed))
        if value is not None:
            write_json(path, Score("templates", {"miou": value}).to_json())


def test_seeds_of_a_scene_are_averaged_and_differences_are_paired(run: Run) -> None:
    ours = {("first", 0): 0.5, ("first", 1): 0.7, ("second", 0): 0.3}
    theirs = {("first", 0): 0.1, ("first", 1): 0.5, ("second", 1): 0.9}
    put(run, {OURS: ours, TEXT: theirs})
    table = collect(run)
    (column,) = table.columns()
    assert column.kind.factor == 100
    assert column.title == "mIoU, templates, x 100"
    text, crop_merge = table.row(column)
    assert (crop_merge.mode, crop_merge.value.value, crop_merge.value.n) == (OURS, pytest.approx(0.45), 2)
    assert text.value.value == pytest.approx((0.3 + 0.9) / 2)
    assert text.less is not None
    assert (text.less.value, text.less.n) == (
        pytest.approx(0.3),
        1,
    )  # (.4 + .2) / 2 of the first scene; none of the other
    assert crop_merge.less is None
    assert table.row(column, "dark")[1].value.value == pytest.approx(0.3)
    printed = list(lines(table))
    assert printed[1] == CAUTION
    assert any("text-only" in line and "+30.00 (+30.00 to +30.00)" in line for line in printed)


def test_the_papers_numbers_stand_beside_their_own_metrics_only() -> None:
    from lib_anyms.lab.benchmark.scoring import KINDS
    from lib_anyms.lab.benchmark.tables import paper_lines

    def names(kind: str, model: str) -> list[str]:
        return [line.rpartition("its ")[2] for line in paper_lines(Column(KINDS[kind], model))]

    assert names("miou", "OWLv2 ViT-B/16") == ["mIoU)"] * 3
    assert names("image_boxes", "CLIP ViT-B/32") == ["CLIP-I)"] * 3
    assert names("image_boxes", "DINO ViT-S/16") == ["DINO)"]
    assert names("image_boxes", "DINOv2 ViT-S/14") == []
    assert names("image_boxes", "DreamSim ensemble, 1 - distance") == ["DreamSim)"]
    assert names("image_found", "CLIP ViT-B/32") == names("text_2.5", "CLIP ViT-B/32") == []


def test_the_check_names_what_is_missing_with_size_and_place(
    world: Path, bench_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--here", "--bench", str(bench_folder), "--out", str(tmp_path / "out"), "--bench-check"]
    assert main([*words, "--detector", str(tmp_path / "gone")]) == 1
    printed = capsys.readouterr().out
    assert "MISSING: checkpoint; published as" in printed
    assert "sd_xl_base_1.0.safetensors, 6.9 GB" in printed
    assert f"MISSING: detector {tmp_path / 'gone'}: there is no such folder; published as" in printed
    assert "IDEA-Research/grounding-dino-tiny, 0.69 GB (12 GB cards)" in printed
    assert "left out: clip, so no CLIP-I and CLIP-T; published as" in printed
    assert f"2 scenes and seeds in {len(BENCH_MODES)} modes: {2 * len(BENCH_MODES)} pictures" in printed
    assert not (tmp_path / "out").exists()
    files = [f"--{name}={world / file}.safetensors" for name, file in FILES]
    assert main([*words, *files, "--detector", SMALL_WORLD]) == 0
    assert "everything is there" in capsys.readouterr().out


FILES = (("checkpoint", "checkpoint"), ("adapter", "adapter-base"), ("encoder", "encoder"))


def test_the_check_names_missing_references(run: Run, tmp_path: Path) -> None:
    scene = run.bench.scenes[0]
    subjects = tuple(
        replace(one, references=(replace(one.references[0], picture=tmp_path / "no.png"),)) for one in scene.subjects
    )
    bench = replace(run.bench, scenes=(replace(scene, subjects=subjects),))
    text, complete = check(replace(run, bench=bench), ())
    assert not complete
    assert f"MISSING: {tmp_path / 'no.png'}" in text
    assert {one.role for one in PUBLISHED} >= {"checkpoint", "adapter", "encoder", "detector", "dino", "clip", "bench"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--modes", "crop-merge,magic"], "--modes has 'magic'"),
        (["--processes", "2"], "accelerate launch"),
        (["--bars"], "--bars does not work with --bench"),
        (["--suite", "full"], "--suite does not work with --bench"),
        (["--scenes", "0"], "--scenes is 0"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--size", "100"], "--size is 100"),
        (["--dino", "nowhere"], "nowhere cannot be loaded as dino .there is no such folder"),
        (["--host", "http://127.0.0.1:9"], "does not answer like a WebUI's API"),
    ],
)
def test_impossible_options_are_refused_before_any_picture(
    world: Path, bench_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    out = tmp_path / "out"
    assert main(command(world, bench_folder, out, *more)) == REFUSED
    assert sentence.replace(".there", "(there") in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("option", [["--detector", "d"], ["--seeds", "2"], ["--bench-check"], ["--modes", "off"]])
def test_options_of_a_benchmark_are_refused_without_one(
    world: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert main(["evaluate", "--here", "--files", str(world), *option]) == REFUSED
    assert f"{option[0]} needs --bench DIR" in capsys.readouterr().err


class FakeWebUI(BaseHTTPRequestHandler):
    """A WebUI's API that makes grey pictures. `broken`: it refuses every job."""

    server: Server

    def do_GET(self) -> None:
        options = {"sd_model_checkpoint": self.server.checkpoint}
        answers = {"/sdapi/v1/scripts": {"txt2img": ["anyms"]}, "/sdapi/v1/options": options}
        self._answer(200, answers[self.path])

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.broken:
            return self._answer(500, {"errors": "out of memory"})
        self.server.jobs.append(job)
        time.sleep(0.02)
        data = io.BytesIO()
        Image.new("RGB", (job["width"], job["height"]), "grey").save(data, "PNG")
        self._answer(200, {"images": [base64.b64encode(data.getvalue()).decode()], "info": ""})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeWebUI)
        self.jobs: list[dict[str, Any]] = []
        self.broken, self.checkpoint = False, "sdxl [1]"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def webuis() -> Iterator[list[Server]]:
    servers = [Server(), Server()]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def test_several_webuis_share_the_pictures(
    webuis: list[Server], bench_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--here", "--bench", str(bench_folder), "--out", str(tmp_path)]
    hosts = [word for server in webuis for word in ("--host", server.address)]
    assert main([*words, *hosts, "--size", str(SIDE), "--seeds", "2"]) == 0
    modes = [mode for mode in BENCH_MODES if MODES[mode].on_hosts]
    jobs = [*webuis[0].jobs, *webuis[1].jobs]
    assert len(jobs) == 4 * len(modes)
    assert all(server.jobs for server in webuis)
    assert {(job["steps"], job["cfg_scale"], job["width"], job["seed"]) for job in jobs} == {
        (30, 5.0, SIDE, 0),
        (30, 5.0, SIDE, 1),
    }
    requests = [job["alwayson_scripts"]["AnyMS"]["args"][0] for job in jobs if job["alwayson_scripts"]]
    assert {(one["adapter"], one["encoder"], one["scale"]) for one in requests} == {("auto", "auto", 0.6)}
    assert sorted({one["elsewhere"] for one in requests if "elsewhere" in one}) == ["grass", "night"]
    printed = capsys.readouterr().out
    assert f"{len(jobs)} to make or score by 2 WebUIs" in printed
    assert PEER not in printed
    assert "unknown" in printed  # the peak memory of another machine


def test_a_webui_that_fails_leaves_its_picture_to_the_others(webuis: list[Server], run: Run) -> None:
    webuis[0].broken = True
    said: list[str] = []
    hosts = [server.address for server in webuis]
    files, jobs = host_files(None, None, 64), run.jobs()
    done = [job for job, _, _ in on_hosts(hosts, files, run.settings, jobs, said.append)]
    assert sorted(map(run.key, done)) == sorted(map(run.key, jobs))
    assert [line.partition(" ")[0] for line in said] == [hosts[0]]
    assert "out of memory" in said[0]
    webuis[1].broken = True
    with pytest.raises(Refused, match="out of memory"):
        list(on_hosts(hosts, files, run.settings, jobs, quiet))


def test_webuis_with_different_checkpoints_are_refused(
    webuis: list[Server], bench_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    webuis[1].checkpoint = "other [2]"
    words = ["evaluate", "--here", "--bench", str(bench_folder), "--out", str(tmp_path)]
    assert main([*words, "--host", webuis[0].address, "--host", webuis[1].address]) == REFUSED
    assert "has loaded other [2] (expected sdxl [1]" in capsys.readouterr().err


def test_progress_names_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [duration(seconds) for seconds in (40, 600, 7200)] == ["40 s", "10 min", "2.0 h"]
    said: list[str] = []
    monkeypatch.setattr("lib_anyms.lab.benchmark.progress._EVERY", -1.0)
    progress = Progress("pictures", 4, said.append)
    progress.step()
    assert said[0].startswith("[######..................] 1 of 4 pictures, 0.0 s each, 0 s left")
    assert progress.line(30).endswith("1 of 4 pictures, 30.0 s each, 90 s left") or "2 min left" in progress.line(30)
