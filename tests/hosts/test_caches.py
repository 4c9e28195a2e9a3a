"""Extensions that answer UNet calls from a cache or a forecast: the subjects stay, and the report names what skipped.

ANYMS_NEIGHBOURS_DIR names a folder with these extensions: sd-forge-blockcache for Forge, and sd_forge_spectrum, which
newer Forge Neo has built in.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.hosts.neighbours import Scripts, needs_script, once_more, paint_beside, watch_beside
from tests.hosts.studio import LAYERS, Studio, as_before, two_subjects

pytestmark = pytest.mark.usefixtures("untouched")
STEPS = 12
SPECTRUM = "Spectrum Integrated"
BLOCKS = "First Block Cache / TeaCache"


@pytest.fixture(scope="module")
def with_cache(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The host with its cache: Forge with block caches, Forge Neo with Spectrum."""
    name = {"Forge": "sd-forge-blockcache", "Forge Neo": "sd_forge_spectrum"}.get(studio.kind.name)
    if name is None:
        pytest.skip(f"host: not an option in {studio.kind.name}: these caches are made for Forge and Forge Neo")
    with once_more(studio, name, tmp_path_factory.mktemp("cached")) as loaded:
        yield loaded


@pytest.fixture
def cached(with_cache: Studio) -> Iterator[Studio]:
    with as_before(with_cache) as loaded:
        yield loaded


def spectrum(studio: Studio) -> Scripts:
    """Three steps without a forecast, then every second one has one, then two without."""
    return {needs_script(studio, SPECTRUM): [True, 0.25, 6, 0.5, 2, 0.0, 3, 0.9]}


def blocks(studio: Studio, method: str) -> Scripts:
    """The first step is whole, and then every second one is cached."""
    return {needs_script(studio, BLOCKS): [True, method, 1e9, 1, 1, False]}


def fired(studio: Studio, scripts: Scripts) -> list[int]:
    """Make a picture with both, which neither makes alone -> the layers that fired in each UNet call."""
    job, calls = watch_beside(studio, scripts, two_subjects(), steps=STEPS)
    alone = paint_beside(studio, scripts, steps=STEPS)
    assert alone.pixels != studio.paint(steps=STEPS).pixels
    assert job.pixels[-1] not in (alone.pixels[-1], studio.paint(two_subjects(), steps=STEPS).pixels[-1])
    parameters = studio.parameters(job.images[0])
    assert "AnyMS" in parameters
    assert "AnyMS skipped" not in parameters
    return [call.fired for call in calls]


def report(studio: Studio, scripts: Scripts) -> str:
    """The report after a picture with both."""
    paint_beside(studio, scripts, two_subjects(), steps=STEPS)
    with urllib.request.urlopen(studio.host.url + "/anyms/v1/doctor") as answer:
        return str(answer.read().decode())


def test_steps_that_spectrum_predicts(cached: Studio) -> None:
    scripts = spectrum(cached)
    assert fired(cached, scripts) == [LAYERS] * 8
    expected = "pass 1 skipped: 4 steps, 0 whole and 0 partial UNet calls, by lib_spectrum.forecaster"
    assert expected in report(cached, scripts)


@pytest.mark.parametrize("method", ["First Block Cache", "TeaCache"])
def test_calls_that_a_block_cache_answers(cached: Studio, method: str) -> None:
    scripts = blocks(cached, method)
    assert fired(cached, scripts) == [LAYERS, 0] * 6
    expected = "pass 1 skipped: 0 steps, 6 whole and 0 partial UNet calls, by blockcache.py"
    assert expected in report(cached, scripts)


@pytest.mark.parametrize("method", ["First Block Cache", "TeaCache"])
def test_a_refused_job_leaves_nothing_of_a_block_cache(cached: Studio, method: str) -> None:
    """The cache replaces the forward of the UNet's class, and takes it back after the sampling only."""
    always_on = {title: {"args": arguments} for title, arguments in blocks(cached, method).items()}
    always_on["AnyMS"] = {"args": [two_subjects(adapter="no such file")]}
    answer = cached.host.post("/sdapi/v1/txt2img", {"prompt": "a cat", "steps": 3, "alwayson_scripts": always_on})
    assert answer.status == 500
    assert "no such file" in str(answer.body)
    assert cached.paint(steps=STEPS).pixels == cached.paint(steps=STEPS).pixels  # and as_before compares with earlier
