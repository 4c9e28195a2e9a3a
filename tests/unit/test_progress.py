"""The share of a WebUI's steps done, from its denoiser: the page's own number is late."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lib_anyms.hosts.webui import WebUI


@pytest.mark.parametrize(
    ("step", "total", "share"),
    [(0, 4, 0.0), (3, 4, 0.75), (3, 8, 0.375), (4, 4, 1 - 1e-6), (9, 4, 1 - 1e-6), (1, None, 0.25)],
)
def test_progress_is_the_denoiser_s_and_stays_below_1(step: int, total: int | None, share: float) -> None:
    """Second-order samplers call twice per step; Restart counts past the end."""
    host = WebUI(SimpleNamespace())
    host.begin_step(
        SimpleNamespace(denoiser=SimpleNamespace(step=step, total_steps=total), sampling_step=0, total_sampling_steps=4)
    )
    assert host.progress() == share
