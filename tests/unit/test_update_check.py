"""AnyMS is updated while the WebUI runs: page, doctor and every job say "restart the WebUI". No job mixes versions."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.hosts.facts import HostFacts
from lib_anyms.job.request import Request
from lib_anyms.stamp import SourceTree
from lib_anyms.webui import doctor, lifecycle, update_check
from tests.support.fake_host import FakeHost, sample
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.streams import hook_count
from tests.support.tiny_unet import tiny_unet

ROOT = Path(__file__).parents[2]
SENTENCE = f"AnyMS was updated from {update_check.SHORT} to "


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first file of other sources than those that run, as after a git pull."""
    path = tmp_path / "lib_anyms" / "__init__.py"
    path.parent.mkdir()
    path.write_text('__version__ = "9.8.7"\n', encoding="utf-8")
    monkeypatch.setattr(update_check, "_TREE", SourceTree(tmp_path))
    return path


def test_the_sources_that_run_are_the_ones_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_check, "RUNNING", SourceTree().stamp())  # a file may change while tests run
    assert update_check.update() is None
    assert update_check.restart_sentence() == ""


def test_other_sources_on_disk_are_reported(on_disk: Path) -> None:
    stamp = SourceTree(on_disk.parents[1]).stamp()
    assert f"{SENTENCE}{stamp[:8]}: restart the WebUI. Reload UI is not enough." in update_check.restart_sentence()


def test_a_half_written_update_raises_nothing(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk.write_bytes(b"\xff\xfe")
    assert update_check.update() is not None
    (on_disk.parent / "half.py").symlink_to("not-written-yet.py")
    assert update_check.update() is None
    (on_disk.parent / "half.py").unlink()
    on_disk.unlink()
    assert update_check.update() is None
    on_disk.parent.rmdir()
    assert update_check.update() is None


def test_the_doctor_says_so(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SENTENCE in doctor.report(HostFacts("A1111", "v1.10.1", (), None), None)
    monkeypatch.setattr(update_check, "RUNNING", SourceTree(on_disk.parents[1]).stamp())
    assert "restart" not in doctor.report(HostFacts("A1111", "v1.10.1", (), None), None)


# -- a job -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    host = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: host)
    return SimpleNamespace(extra_generation_params={}, comment=lambda _text: None, host=host)


def example(**settings: Any) -> Request:
    cat = {"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}
    return Request.from_json({"subjects": [cat], **settings})


def test_a_job_with_anyms_is_refused_on_the_page_and_in_the_api(job: Any, on_disk: Path) -> None:
    """Modules it still has to import would be of the other version."""
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, example)
    with pytest.raises(Refused, match=SENTENCE):
        sample(job.host.current)
    assert hook_count(job.host.current) == 0


def test_a_job_without_anyms_is_left_alone(job: Any, on_disk: Path) -> None:
    before = sample(job.host.current)
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, lambda: example(scale=0))
    assert sample(job.host.current).equal(before)


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    with fake_webui(tmp_path) as loaded:
        yield loaded


def load_script() -> ModuleType:
    """scripts/anyms.py as "Reload UI" runs it: again, on the modules that are already imported."""
    spec = importlib.util.spec_from_file_location("anyms.py", ROOT / "scripts" / "anyms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(webui: FakeWebUI) -> str:
    texts = []
    for component in copy.copy(webui("gradio").COMPONENTS):
        texts += [text for text in (component.label, component.value) if isinstance(text, str)]
    return "\n".join(texts)


def test_the_accordion_says_so(webui: FakeWebUI, on_disk: Path) -> None:
    webui("lib_anyms.webui.ui.panel").build(lambda name: name)
    assert SENTENCE in shown(webui)
    webui("gradio").COMPONENTS.clear()
    on_disk.unlink()
    webui("lib_anyms.webui.ui.panel").build(lambda name: name)
    assert "restart" not in shown(webui).lower()


def test_a_newer_script_does_not_run_on_older_modules(webui: FakeWebUI, on_disk: Path) -> None:
    """Reload UI after an update: the page shows the sentence in place of its fields, and the API refuses the job."""
    module = load_script()
    script = module.AnyMSScript()
    assert len(script.ui(False)) == 1
    assert SENTENCE in shown(webui)
    assert webui("modules.script_callbacks").ON_CFG_DENOISER == []
    unet = tiny_unet()
    p = SimpleNamespace(
        sd_model=SimpleNamespace(model=SimpleNamespace(diffusion_model=unet)), extra_generation_params={}
    )
    for values, uses_anyms in (((example().to_json(),), True), (({},), True), (("",), False), ((None,), False)):
        script.before_process(p, *values)
        script.process_before_every_sampling(p, *values, x=None)
        if uses_anyms:
            with pytest.raises(RuntimeError, match="restart the WebUI"):
                sample(unet)
        sample(unet)
        script.post_sample(p, None, *values)
        script.postprocess(p, None, *values)
    assert hook_count(unet) == 0


def test_after_the_restart_everything_is_back(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_check, "RUNNING", SourceTree().stamp())  # a file may change while tests run
    script = load_script().AnyMSScript()
    assert len(script.ui(False)) > 5
    assert len(webui("modules.script_callbacks").ON_CFG_DENOISER) == 1
    assert "modules" in sys.modules
