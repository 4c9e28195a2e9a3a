"""AnyMS updated while the WebUI runs: page, doctor and every job say "restart the WebUI", and no job mixes the
versions.
"""

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

import lib_anyms
from lib_anyms.errors import Refused
from lib_anyms.hosts.facts import HostFacts
from lib_anyms.job.request import Request
from lib_anyms.webui import doctor, lifecycle, update_check
from tests.support.fake_host import FakeHost, sample
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.streams import hook_count
from tests.support.tiny_unet import tiny_unet

ROOT = Path(__file__).parents[2]
SENTENCE = f"AnyMS was updated from {lib_anyms.__version__} to 9.8.7: restart the WebUI"


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's __init__.py as a git pull has left it."""
    path = tmp_path / "__init__.py"
    path.write_text('"""AnyMS."""\n\n__version__ = "9.8.7"\n', encoding="utf-8")
    monkeypatch.setattr(update_check, "_FILE", path)
    return path


def test_the_files_that_run_are_the_installed_ones() -> None:
    assert update_check.update() is None
    assert update_check.restart_sentence() == ""


def test_another_version_on_disk_is_told(on_disk: Path) -> None:
    assert SENTENCE in update_check.restart_sentence()
    for unreadable in ("", "__version__ = 3", "\N{SNOWMAN}"):  # in the middle of being written
        on_disk.write_text(unreadable, encoding="utf-8")
        assert update_check.update() is None
    on_disk.unlink()
    assert update_check.update() is None


def test_the_doctor_says_so(on_disk: Path) -> None:
    assert SENTENCE in doctor.report(HostFacts("A1111", "v1.10.1", (), None), None)
    on_disk.write_text(f'__version__ = "{lib_anyms.__version__}"\n', encoding="utf-8")
    assert "restart" not in doctor.report(HostFacts("A1111", "v1.10.1", (), None), None)


# -- a job -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    host = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: host)
    return SimpleNamespace(extra_generation_params={}, comment=lambda _text: None, host=host)


def wish(**settings: Any) -> Request:
    cat = {"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}
    return Request.from_json({"subjects": [cat], **settings})


def test_a_job_that_wants_anyms_is_refused_on_the_page_and_in_the_api(job: Any, on_disk: Path) -> None:
    """What it still has to import would be of the other version."""
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, wish)
    with pytest.raises(Refused, match=SENTENCE):
        sample(job.host.current)
    assert hook_count(job.host.current) == 0


def test_a_job_that_does_not_is_left_alone(job: Any, on_disk: Path) -> None:
    before = sample(job.host.current)
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, lambda: wish(scale=0))
    assert sample(job.host.current).equal(before)


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    with fake_webui(tmp_path) as loaded:
        yield loaded


def load_script() -> ModuleType:
    """scripts/anyms.py as "Reload UI" runs it: anew, over what was imported."""
    spec = importlib.util.spec_from_file_location("anyms.py", ROOT / "scripts" / "anyms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(webui: FakeWebUI) -> str:
    made = copy.copy(webui("gradio").MADE)
    return "\n".join(text for each in made for text in (each.label, each.value) if isinstance(text, str))


def test_the_accordion_says_so(webui: FakeWebUI, on_disk: Path) -> None:
    webui("lib_anyms.webui.ui.panel").build(lambda name: name)
    assert SENTENCE in shown(webui)
    webui("gradio").MADE.clear()
    on_disk.unlink()
    webui("lib_anyms.webui.ui.panel").build(lambda name: name)
    assert "restart" not in shown(webui).lower()


def test_a_newer_script_does_not_run_on_older_modules(webui: FakeWebUI, on_disk: Path) -> None:
    """Reload UI after an update: the page says so in place of its fields, and the API is refused."""
    module = load_script()
    script = module.AnyMSScript()
    assert len(script.ui(False)) == 1
    assert SENTENCE in shown(webui)
    assert webui("modules.script_callbacks").ON_CFG_DENOISER == []
    unet = tiny_unet()
    p = SimpleNamespace(
        sd_model=SimpleNamespace(model=SimpleNamespace(diffusion_model=unet)), extra_generation_params={}
    )
    for values, wanted in (((wish().to_json(),), True), (("",), False)):
        script.before_process(p, *values)
        script.process_before_every_sampling(p, *values, x=None)
        if wanted:
            with pytest.raises(RuntimeError, match="restart the WebUI"):
                sample(unet)
        sample(unet)
        script.post_sample(p, None, *values)
        script.postprocess(p, None, *values)
    assert hook_count(unet) == 0


def test_after_the_restart_it_is_all_there(webui: FakeWebUI) -> None:
    script = load_script().AnyMSScript()
    assert len(script.ui(False)) > 5
    assert len(webui("modules.script_callbacks").ON_CFG_DENOISER) == 1
    assert "modules" in sys.modules
