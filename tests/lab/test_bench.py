"""Every form computes the same, ratios are within a round, and all suites run on small shapes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused
from lib_anyms.lab.bench import jobs, layers, suites
from lib_anyms.lab.bench.forms import FORMS, KEPT, Work
from lib_anyms.lab.bench.launches import launch_results
from lib_anyms.lab.bench.layers import Size
from lib_anyms.lab.bench.report import plot, table, write_json
from lib_anyms.lab.bench.streams import SCALE, layout_of
from lib_anyms.lab.bench.timing import Result, clock_of, compare, interleaved, ratio
from lib_anyms.lab.bench.whole import UNetCase, unet_results
from lib_anyms.lab.commands import bench
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.standalone.structure import SMALL as SMALL_UNET
from tests.support import oracle

BOUNDS = {torch.float32: 1e-6, torch.float64: 1e-12}
# Seven layers: the suites call it hundreds of times, and what they measure is not tested here.
SMALLER_UNET = replace(SMALL_UNET, depths=(0, 1, 1), res_blocks=1)
SMALL = (Size("layer 8x8x32", TokenGrid(8, 8), 32, 2),)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_oracle_s_image_stream(name: str, dtype: torch.dtype) -> None:
    layout, grid = layout_of(5), TokenGrid(13, 18)
    work = Work.random(layout.visible_tokens(grid), grid, 32, 4, 4, 2, torch.zeros((), dtype=dtype))
    owner = oracle.owners(layout, grid.height, grid.width)
    sets = [[work.uncond] * 5, work.sets]
    image = torch.cat(
        [oracle.image_stream(work.query[half : half + 1], sets[half], owner, [1.0] * 5, 4) for half in (0, 1)]
    )
    expected = work.text + SCALE * image
    assert (FORMS[name](replace(work, text=work.text.clone())) - expected).abs().max() <= 4 * BOUNDS[dtype]


@pytest.mark.parametrize("count", range(1, 13))
def test_the_layouts_cover_the_requested_share(count: int) -> None:
    layout = layout_of(count)
    assert sum(subject.box.area for subject in layout.subjects) == pytest.approx(0.6, abs=1e-9)
    assert all(share == 1 for share in layout.visible_shares(TokenGrid(64, 64)))


def test_a_ratio_is_of_one_round_and_a_slow_machine_does_not_move_it() -> None:
    speeds = [1.0, 7.0, 2.0, 3.0, 1.5]
    middle, low, high = ratio([2 * speed for speed in speeds], speeds)
    assert (middle, low, high) == pytest.approx((2.0, 2.0, 2.0))
    low_and_high = ratio([1.0, 2.0, 3.0, 2.0, 2.0], [1.0] * 5)
    assert low_and_high[0] == 2.0
    assert low_and_high[1] < 2.0 < low_and_high[2] <= 3.0


def test_variants_take_turns_and_each_is_timed_alone() -> None:
    turns: list[str] = []

    def waits(name: str, seconds: float):
        def run() -> None:
            turns.append(name)
            time.sleep(seconds)

        return run

    times = interleaved({"short": waits("short", 0.002), "long": waits("long", 0.02)}, rounds=4)
    assert [len(seconds) for seconds in times.values()] == [4, 4]
    assert all({*turns[place : place + 2]} == {"short", "long"} for place in range(0, 12, 2))
    result = compare("a case", 1, 4, times, "long", "short")
    assert 2 < result.ratio < 11
    assert result.ms >= 20


def test_one_thread_s_clock_stands_still_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    own, other = clock_of("cpu"), clock_of("cuda")
    before = own(), other()
    time.sleep(0.2)
    assert own() - before[0] < 0.1
    assert other() - before[1] > 0.1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert clock_of("cpu") is other


def test_layers_compare_every_form_with_the_yardstick() -> None:
    results = list(layers.layer_results(SMALL, (1, 3), (4,), 2, torch.zeros(())))
    assert [(result.case, result.subjects) for result in results] == [
        (f"layer 8x8x32, {name}", count) for count in (1, 3) for name in FORMS
    ]
    assert all(result.ratio > 0 and result.low <= result.ratio <= result.high for result in results)


def test_the_gpu_suite_runs_on_small_shapes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suites, "SDXL_LAYERS", SMALL)
    monkeypatch.setattr(suites, "ALL", (2,))
    monkeypatch.setattr(suites, "BEYOND", ())
    monkeypatch.setattr(jobs, "JOBS", 1)
    monkeypatch.setattr(jobs, "CALLS", 1)
    results = [*suites.gpu_results("cpu", SMALLER_UNET, side=8, rounds=1, steps=1, traces=tmp_path)]
    cases = {result.case for result in results}
    for dtype in ("float16", "bfloat16"):
        for batch in (2, 6):
            for way in ("AnyMS", "masked sum", "diffusers' masks"):
                assert f"SDXL UNet, 64 px, {dtype}, {batch} rows, {way}" in cases
        for way in ("1 steps", "computed by the device"):
            chosen = [result for result in results if result.case == f"SDXL UNet, 64 px, {dtype}, 2 rows, {way}"]
            assert [result.subjects for result in chosen] == [0, 7, 12]
            assert all(result.ms > 0 for result in chosen)
    assert len([*tmp_path.glob("SDXL_UNet-*.json")]) == 2 * 3
    assert {f"layer 8x8x32, {name}" for name in KEPT} < cases


def test_the_launches_of_a_layer_are_measured_in_both_forms() -> None:
    results = [*launch_results((1, 2), 3, torch.zeros(()))]
    assert [(result.case, result.subjects) for result in results] == [
        (f"launches, {what}", count)
        for count in (1, 2)
        for what in ("a layer by subject", "a layer at once", "the attention alone")
    ]
    assert all(0.001 < result.ms < 10 for result in results)


def test_more_subjects_than_a_layout_may_have_are_measured_in_single_layers() -> None:
    results = [*layers.layer_results(SMALL, (16,), (4,), 1, torch.zeros(()))]
    assert {result.subjects for result in results} == {16}


def test_a_unet_is_measured_with_and_without_the_stream() -> None:
    bench = UNetCase("tiny", SMALL_UNET, 8, 2, torch.zeros(()))
    results = list(unet_results(bench, (0, 2), {"base": 4, "plus": 16}, 1, prompts=(2,)))
    memory = {(result.tokens, result.case): result.mib for result in results if result.subjects}
    assert memory[16, "tiny, AnyMS"] > 3 * memory[4, "tiny, AnyMS"] > 0
    assert [result.case for result in results if not result.subjects] == ["tiny, AnyMS"] * 2
    worded = [result for result in results if result.case == "tiny with prompts, AnyMS"]
    assert [(result.against, result.tokens) for result in worded] == [("AnyMS 2", 4), ("AnyMS 2", 16)]
    texts = [result.mib - memory[result.tokens, "tiny, AnyMS"] for result in worded]
    widths = sum(layer.width for layer in cross_attention_layers(bench.unet()))
    assert texts == pytest.approx([3 * 77 * 2 * widths * 4 / 2**20] * 2)  # keys and values of two prompts and elsewhere


def test_the_results_are_written_as_json(tmp_path: Path) -> None:
    results = [Result("a, b", count, 4, 1.1, 1.0, 1.2, 3.0, 0.5, "plain") for count in (1, 7)]
    write_json(tmp_path / "deep" / "b.json", "quick", "cpu", 1.0, results)
    content = json.loads((tmp_path / "deep" / "b.json").read_text(encoding="utf-8"))
    assert (
        content["rows"][1].items()
        >= {"case": "a, b", "subjects": 7, "tokens": 4, "ratio": 1.1, "low": 1.0, "high": 1.2, "mib": 0.5}.items()
    )
    assert table(results)[-1].startswith("| a, b | 7 | 4 | 1.100 | 1.000 to 1.200 |")
    plot(tmp_path / "b.png", results)
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_without_a_gpu_its_suite_says_so(tmp_path: Path) -> None:
    import argparse

    if torch.cuda.is_available():
        pytest.skip("host: a GPU is here")
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(Refused, match=r"sees no GPU .* --suite quick"):
        bench.run(parser.parse_args(["--suite", "gpu", "--out", str(tmp_path)]))
