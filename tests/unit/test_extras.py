"""What a button asks of one Generate beside its picture: a comparison's other jobs, its gallery, and maps of the
subjects.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lib_anyms.engine.influence import Influence
from lib_anyms.job.request import Request
from lib_anyms.layout.geometry import WHOLE, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout
from tests.support.adapter_files import write_adapter
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.streams import Rows, injected, layout_of, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

RED = Image.new("RGB", (6, 5), "red")
SIZE = (64, 48)
COLOURS = {"off": "white", "masked-sum": "silver", "crop-merge": "teal", "global-sum": "gold"}
REQUEST = {"mode": "global-sum", "subjects": [{"name": "cat", "box": [0.25, 0, 0.75, 1], "images": [RED]}]}


class Script:
    """Ours, among the host's."""

    args_from, args_to = 1, 3

    def title(self) -> str:
        return "AnyMS"


class Job:
    """A host's `p`: what it makes is as its request's mode says."""

    def __init__(self, extras: Any, values: list[Any], chosen: int = 0) -> None:
        self.extras = extras
        chosen_script = SimpleNamespace(title=lambda: "X/Y/Z plot")
        self.scripts = SimpleNamespace(alwayson_scripts=[Script()], selectable_scripts=[chosen_script])
        self.script_args = [chosen, *values]
        self.seed, self.n_iter, self.batch_size, self.do_not_save_grid = -1, 3, 2, False
        self.styles, self.override_settings, self.extra_generation_params = [], {}, {}
        self.outpath_grids, self.all_seeds, self.all_prompts = "grids", [7], ["a cat"]
        self.comments: dict[str, int] = {}
        self.closed = False
        self.made: list[tuple[str, int]] = []  # shared by copies

    def comment(self, text: str) -> None:
        self.comments[text] = 1

    def close(self) -> None:
        self.closed = True

    @property
    def values(self) -> list[Any]:
        return self.script_args[1:]

    def process(self) -> Any:
        """As process_images: our callbacks around one picture."""
        self.extras.begin(self, self.values)
        request = self.values[0]
        self.made.append((request.mode, self.seed))
        self.extra_generation_params[request.mode] = 1
        told = {"all_seeds": [7], "all_prompts": ["a cat"], "all_negative_prompts": [""], "all_subseeds": [1]}
        picture = Image.new("RGB", SIZE, COLOURS[request.mode])
        done = SimpleNamespace(images=[picture], infotexts=[request.mode], index_of_first_image=0, **told)
        self.extras.end(self, done)
        return done


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    with fake_webui(tmp_path) as loaded:
        loaded("modules.shared").opts.grid_save = True
        loaded("modules.shared").opts.grid_format = "png"
        loaded("modules.shared").opts.grid_extended_filename = False
        yield loaded


@pytest.fixture
def extras(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = webui("lib_anyms.webui.ui.extras")
    monkeypatch.setattr(loaded.panel, "asked", lambda values: values[1])
    return loaded


def job(extras: Any, asked: str, chosen: int = 0) -> Job:
    return Job(extras, [Request.from_json(REQUEST), asked], chosen)


def test_a_comparison_makes_the_other_modes_first_with_one_seed(extras: Any, webui: FakeWebUI) -> None:
    p = job(extras, "comparison")
    done = p.process()
    assert p.made == [("off", 1234), ("masked-sum", 1234), ("crop-merge", 1234)]
    assert (p.n_iter, p.batch_size) == (1, 1)
    assert done.infotexts == ["crop-merge", "off", "masked-sum", "crop-merge"]
    assert (done.index_of_first_image, len(done.images)) == (1, 4)
    assert len(done.all_seeds) == len(done.all_prompts) == 3
    sheet, *pictures = done.images
    assert [picture.getpixel((1, 1)) for picture in pictures] == [
        (255, 255, 255),
        (192, 192, 192),
        (0, 128, 128),
    ]  # clean
    assert sheet.width > 3 * SIZE[0]
    assert [sheet] == webui("modules.images").SAVED
    assert p.extra_generation_params == {"crop-merge": 1}  # the copies had one of their own
    assert extras._waiting is None


def test_the_boxes_lie_where_the_layout_has_them(webui: FakeWebUI) -> None:
    drawing, layout = webui("lib_anyms.webui.ui.drawing"), Request.from_json(REQUEST).layout
    font = webui("modules.images").get_font
    plain = Image.new("RGB", (201, 101), "white")

    def column_of(viewport: Viewport) -> list[int]:
        drawn = drawing.with_boxes(plain, layout, viewport, font)
        return [x for x in range(drawn.width) if drawn.getpixel((x, 60)) == (240, 168, 48)]

    assert column_of(WHOLE) == [50, 51, 149, 150]
    assert column_of(Viewport(0.25, 0, 1.25, 1)) == [0, 1, 99, 100]  # cut by a second pass of another aspect
    assert plain.getcolors() == [(201 * 101, (255, 255, 255))]


def test_nothing_is_compared_beside_a_chosen_script_and_that_is_said(extras: Any) -> None:
    p = job(extras, "comparison", chosen=1)
    done = p.process()
    assert [mode for mode, _ in p.made] == ["global-sum"]
    assert len(done.images) == 1
    assert "the script X/Y/Z plot is chosen" in next(iter(p.comments))


def test_what_was_made_before_a_stop_is_shown_without_a_sheet(extras: Any, webui: FakeWebUI) -> None:
    p = job(extras, "comparison")
    webui("modules.shared").state.interrupted = True
    done = p.process()
    assert [mode for mode, _ in p.made] == ["crop-merge"]
    assert len(done.images) == 1


def test_a_failure_of_the_other_jobs_is_said_and_the_job_goes_on(extras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_job: Any) -> None:
        raise RuntimeError("out of memory")

    p = job(extras, "comparison")
    monkeypatch.setattr(extras.processing, "process_images", fail)
    assert len(p.process().images) == 1
    assert "RuntimeError: out of memory" in next(iter(p.comments))
    assert extras._others == []
    assert extras._waiting is None


def test_the_page_knows_whether_its_host_s_hires_fix_cuts(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = webui("lib_anyms.webui.ui.editor")
    assert 'hires="cuts"' in editor.element(str, "txt2img").value
    monkeypatch.setattr(editor, "host_name", lambda: "Forge Neo")
    assert 'hires="stretches"' in editor.element(str, "txt2img").value


def test_a_job_that_failed_leaves_nothing_to_the_next(extras: Any) -> None:
    failed = job(extras, "comparison")
    extras.begin(failed, failed.values)
    assert extras._waiting is not None
    later = Job(extras, [Request.from_json({**REQUEST, "mode": "off"}), ""])
    assert len(later.process().images) == 1
    assert extras._waiting is None


@pytest.mark.parametrize("on", [True, False])
def test_a_button_asks_beside_the_form_whether_the_switch_is_on_or_not(webui: FakeWebUI, on: bool) -> None:
    panel = webui("lib_anyms.webui.ui.panel")
    values = [component.value for component in panel.build(lambda name: f"anyms_{name}").components]
    values[1] = on
    assert panel.wanted(values) is on
    for words, asked in (("comparison", "comparison"), ("maps", "maps"), ("", ""), ("else", "")):
        values[-1] = words
        assert panel.asked(values) == asked
        assert panel.wanted(values) is (on or bool(asked))


def test_missing_files_are_told_as_the_job_would_tell_them(webui: FakeWebUI, tmp_path: Path) -> None:
    found = webui("lib_anyms.webui.ui.model_hint")
    told = found.problem("auto", "auto")
    assert told.startswith("No IP-Adapter for SDXL was found. Put ip-adapter-plus_sdxl_vit-h")
    assert str(tmp_path / "ipadapter") in told
    unet = tiny_unet()
    webui("modules.sd_models").model_data.sd_model = SimpleNamespace(model=SimpleNamespace(diffusion_model=unet))
    (tmp_path / "ipadapter").mkdir()
    write_adapter(tmp_path / "ipadapter" / "some.safetensors", unet)
    assert "image encoder" in found.problem("auto", None)


def test_the_influence_of_a_real_stream_is_where_its_boxes_are() -> None:
    unet, found = tiny_unet(), Influence()
    stream = stream_on(unet, layout_of((0, 0, 0.5, 1)), Rows(False, True))
    with injected(stream):
        unet(*inputs(2, 8, 8))
        assert found.shares(stream.grids) is None  # nobody asked
        stream.region_merge.influence = found
        unet(*inputs(2, 8, 8))
    grid, shares = found.shares(stream.grids)
    owned = set(stream.layout.visible_tokens(grid)[0])
    assert len(owned) == grid.tokens // 2
    for token, share in enumerate(shares):
        assert (share > 0.01) == (token in owned)


def test_influence_is_the_share_of_the_update_and_keeps_a_sum_only() -> None:
    grid, found = TokenGrid(1, 2), Influence()
    text = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    image = torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])
    for scale in (0.5, 1.5):  # 1 of 4, then 3 of 6
        found.see(grid, text, image, scale)
    assert found.shares([grid]) == (grid, pytest.approx([(0.25 + 0.5) / 2, 0.0]))
    assert found.shares([]) is None
    for width in range(3, 40):
        found.see(TokenGrid(1, width), torch.ones(1, width, 2), torch.ones(1, width, 2), 1.0)
    assert len(found._sums) == Influence.high


def test_a_map_is_hot_where_its_subject_acts(webui: FakeWebUI, extras: Any) -> None:
    layout = Layout(Request.from_json(REQUEST).layout.subjects)
    grid, found = TokenGrid(2, 4), Influence()
    image = torch.zeros(1, 8, 1)
    image[0, 1] = 1.0  # the cat's upper left token
    found.see(grid, torch.ones(1, 8, 1), image, 1.0)
    p = SimpleNamespace(enable_hr=False, outpath_grids="")
    session = SimpleNamespace(
        influence=found, stream=SimpleNamespace(layout=layout, grids={grid}), viewport=WHOLE, job=p
    )
    done = SimpleNamespace(images=[Image.new("RGB", (80, 40), "grey")], infotexts=["x"], index_of_first_image=0)
    extras._show_maps(session, p, done)
    (made,) = done.images[1:]
    left, top = (made.width - 80) // 2, made.height - 40 - (made.width - 80) // 2
    hot, cold = made.getpixel((left + 30, top + 10)), made.getpixel((left + 70, top + 30))
    assert sum(hot) > sum(cold) + 150
    assert len(done.infotexts) == 2
