"""The time of a job with and without AnyMS, through the API and on the page: measured, not judged.

The two take turns. The model is the small world's, untrained. Its layers are narrow, so AnyMS is about 60 times as
large a part of a step as in SDXL: the results are upper bounds. Wall seconds depend on other programs; the process's
CPU seconds hardly do.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lib_anyms.lab.bench.timing import interleaved, ratio
from lib_anyms.standalone.structure import SPRITES, attn2_layers
from tests.hosts.drive import Page, opened
from tests.hosts.studio import Studio, encoded, reference, two_subjects

PAIRS, UNCOUNTED = int(os.environ.get("ANYMS_PAIRS", "5")), 1
LAYERS = len(attn2_layers(SPRITES))
SCENE: dict[str, Any] = {"width": 256, "height": 256, "steps": 8}
PLAIN = "without AnyMS"


def row_of(count: int, **settings: Any) -> dict[str, Any]:
    """A request of `count` subjects side by side."""
    step = 0.96 / count
    subjects = [
        {"name": f"s{number}", "images": [encoded(reference("orange"))], "box": [left, 0.1, left + step, 0.9]}
        for number, left in enumerate(0.02 + step * number for number in range(count))
    ]
    return two_subjects(subjects=subjects, **settings)


def costs(studio: Studio, jobs: dict[str, Callable[[], object]]) -> list[str]:
    """One line for each of `jobs` but the plain one."""
    cpu: dict[str, list[float]] = {name: [] for name in jobs}

    def timed(name: str) -> Callable[[], None]:
        def run() -> None:
            before = studio.host.cpu_seconds()
            jobs[name]()
            cpu[name].append(studio.host.cpu_seconds() - before)

        return run

    wall = interleaved({name: timed(name) for name in jobs}, PAIRS, uncounted=UNCOUNTED)
    own = {name: seconds[UNCOUNTED:] for name, seconds in cpu.items()}
    lines = []
    for name in jobs:
        if name != PLAIN:
            shown = [
                f"{kind} {described(of[name], of[PLAIN])}"
                for kind, of in (("wall", wall), ("CPU", own))
                if min(of[PLAIN])
            ]
            lines.append(f"{name} against {PLAIN}, {PAIRS} pairs: {'; '.join(shown)}")
    return lines


def described(mine: list[float], theirs: list[float]) -> str:
    """The ratio with its interval, and the difference."""
    middle, low, high = ratio(mine, theirs)
    more = float(np.median(np.array(mine) - np.array(theirs)))
    return f"{middle:.3f} ({low:.3f} to {high:.3f}), {1000 * more:+.0f} ms of {1000 * float(np.median(theirs)):.0f}"


def test_jobs_by_the_api(untrained: Studio, measured: list[str]) -> None:
    adapter = untrained.files.adapters["plus"].name
    requests = {f"{count} subjects": row_of(count, adapter=adapter) for count in (2, 7)}
    for request in requests.values():
        calls = untrained.record(request, **SCENE)
        assert [(call.fired, call.changed) for call in calls] == [(LAYERS, LAYERS)] * SCENE["steps"]
    jobs: dict[str, Callable[[], object]] = {PLAIN: lambda: untrained.paint(**SCENE)}
    jobs |= {name: lambda request=request: untrained.paint(request, **SCENE) for name, request in requests.items()}
    measured.extend(f"{untrained.host.place.name}, by the API, {line}" for line in costs(untrained, jobs))


class Timed(Page):
    """The page, generating with AnyMS switched on and off."""

    def switch(self, on: bool) -> None:
        self.ours("enabled-visible-checkbox").set_checked(on)

    def again(self) -> str:
        """Generate again -> the new picture's address."""
        first = "document.querySelector('#txt2img_gallery img')?.src ?? ''"
        before = self.tab.evaluate(first)
        self.tab.locator("#txt2img_generate").click()
        self.tab.wait_for_function(f"({first}).startsWith('http') && ({first}) !== {before!r}")
        return str(self.tab.evaluate(first))

    def parameters(self, address: str) -> dict[str, Any]:
        """The infotext of the picture at `address`."""
        return self.studio.parameters(base64.b64encode(self.tab.request.get(address).body()).decode())


def test_jobs_on_the_page(untrained: Studio, measured: list[str]) -> None:
    for page in opened(Timed, untrained):
        page.switch_on()
        page.set_subjects()
        page.set_scene()
        for name, value in SCENE.items():
            page.fill(page.tab.locator(f"#txt2img_{name}"), value)

        def generate(on: bool, page: Timed = page) -> str:
            page.switch(on)
            return page.again()

        for on in (True, False):
            assert ("AnyMS" in page.parameters(generate(on))) is on
        jobs = {PLAIN: lambda: generate(False), "2 subjects": lambda: generate(True)}
        measured.extend(f"{untrained.host.place.name}, on the page, {line}" for line in costs(untrained, jobs))


def test_a_line_has_the_ratio_and_the_difference() -> None:
    assert described([2.0, 4.0, 3.0], [1.0, 2.0, 1.5]) == "2.000 (2.000 to 2.000), +1500 ms of 1500"
