"""`evaluate --host` on real hosts with the trained small world: a scene's picture equals diffusers'.

If ANYMS_EVALUATION_DIR is set, it also runs the suite "hosts" through the command line; the numbers go there,
with at most ANYMS_EVALUATION_SCENES scenes a cell. Runs after the tests that compare pictures of one loaded model,
since it loads another one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_anyms.lab.evaluation.pictures import DIFFUSERS, Settings, files_in
from lib_anyms.lab.evaluation.results import ON_DIFFUSERS, SAME_ON_HOSTS
from lib_anyms.lab.evaluation.run import Evaluation, evaluate
from lib_anyms.lab.evaluation.suites import BASE, HOSTS, OURS, PLUS, REAL, TEXT, Cell
from lib_anyms.standalone.processes import CHECKOUT
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.hosts.studio import Studio

FOLDER, AT_MOST = "ANYMS_EVALUATION_DIR", "ANYMS_EVALUATION_SCENES"
SCENES, ROUNDING = 2, 1  # of 255: hosts cut off, diffusers rounds
CELLS = [Cell(REAL, "disjoint", 3, None, SCENES), Cell(TEXT, "disjoint", 3, None, SCENES)]
CELLS += [Cell(OURS, "disjoint", 3, kind, SCENES) for kind in (BASE, PLUS)]
UNSURE = 0.02  # with few scenes an interval may be a point
SECONDS = 7200


@pytest.fixture(scope="module")
def named(sprites: Studio, sprites_files: RandomFiles) -> Iterator[Studio]:
    """The host with the small world's adapters and encoder under the names that `evaluate` uses."""
    pairs = [*((sprites_files.adapters[kind], sprites.files.adapters[kind]) for kind in sprites_files.adapters)]
    pairs += [(sprites_files.encoder, sprites.files.encoder)]
    placed = [Path(shutil.copy(source, beside.with_name(source.name))) for source, beside in pairs]
    yield sprites
    for path in placed:
        path.unlink()


def test_a_scene_s_picture_is_diffusers(named: Studio, sprites_files: RandomFiles, tmp_path: Path) -> None:
    files = files_in(sprites_files.checkpoint.parent)
    settings = [Settings(host=host, dtype="float32") for host in (DIFFUSERS, named.host.url)]
    there, here = (Evaluation(files, each, tmp_path) for each in settings)
    evaluate(there, HOSTS, None, lambda _: None, CELLS)
    rows = evaluate(here, HOSTS, None, lambda _: None, CELLS).results

    for cell in CELLS[1:]:
        for number in range(SCENES):
            ours, theirs = (np.asarray(Image.open(each.picture(cell, number))) for each in (here, there))
            assert np.abs(ours.astype(int) - theirs).max() <= ROUNDING
    valued = [row for row in rows if row.value is not None]  # the small world has no CLIP-T
    ours, theirs = ({(r.adapter, r.metric): r.value for r in valued if r.mode == mode} for mode in (OURS, ON_DIFFUSERS))
    assert theirs.keys() == ours.keys() >= {(kind, metric) for kind in (BASE, PLUS) for metric in ("identity", "miou")}
    same = [place for place, value in theirs.items() if ours[place] == pytest.approx(value, abs=0.02)]
    assert len(same) > len(theirs) / 2  # rounding changes only what the oracle is uncertain about


@pytest.mark.skipif(FOLDER not in os.environ, reason=f"host: {FOLDER} is not set")
def test_the_suite_by_the_command_line(named: Studio, sprites_files: RandomFiles, measured: list[str]) -> None:
    name, out = named.host.place.name, Path(os.environ.get(FOLDER, "")).absolute()
    command = [sys.executable, "-m", "lib_anyms", "evaluate", "--here", "--suite", HOSTS, "--out", str(out)]
    command += ["--files", str(sprites_files.checkpoint.parent), "--scenes", os.environ.get(AT_MOST, "200")]
    for host, json_file in ((DIFFUSERS, "diffusers.json"), (named.host.url, f"{name}.json")):
        there = [*command, "--host", host, "--json", str(out / json_file)]
        done = subprocess.run(there, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    measured += [f"{name}: the suite {HOSTS} in {results['seconds'] / 60:.1f} minutes", *done.stdout.splitlines()]
    rows = {(row["mode"], row["layout"], row["metric"]): row for row in results["rows"]}
    beside = {place[1:]: row for place, row in rows.items() if place[0] == ON_DIFFUSERS and place[2] in SAME_ON_HOSTS}
    assert {layout for layout, _ in beside} == {"disjoint", "overlap-30", "single"}
    for place, row in beside.items():
        assert row["low"] - UNSURE <= rows[(OURS, *place)]["value"] <= row["high"] + UNSURE, place
