"""Weights in eight bits, or off the sampling device: the hosts' options for small GPUs, here on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.neighbours import apart
from tests.hosts.studio import LAYERS, Studio, as_before, started_again, two_subjects


def works(studio: Studio) -> None:
    """Every layer acts, the picture differs from the one without AnyMS, and nothing stays behind."""
    with as_before(studio) as host:
        job, calls = host.watch(two_subjects())
        assert calls
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
        assert job.pixels[0] != host.baseline.pixels[0]
        assert "AnyMS" in host.parameters(job.images[0])


def test_weights_in_eight_bits(studio: Studio, tmp_path: Path) -> None:
    """Eight bits also change the picture without AnyMS; otherwise they are not in use."""
    studio.needs("eight bits")
    flags, settings = studio.kind.eight_bits
    with started_again(studio, tmp_path / "eight bits", *flags) as small, small.options(**settings):
        assert small.baseline.pixels != studio.baseline.pixels
        works(small)


@pytest.mark.parametrize("number", [0, 1])
def test_models_kept_away(studio: Studio, tmp_path: Path, number: int) -> None:
    """The same picture as with the whole model on one device."""
    if number >= len(studio.kind.low_memory):
        pytest.skip(
            f"host: not an option in {studio.kind.name}: on the CPU its memory manager keeps everything in place"
        )
    with started_again(studio, tmp_path / "away", studio.kind.low_memory[number]) as away:
        works(away)
        assert apart(away.composed.pixels[0], studio.composed.pixels[0]) <= 1
