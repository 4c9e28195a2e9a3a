"""Every sampler of the host: a subject that ends at half of the steps acts in the noisier half of the schedule."""

from __future__ import annotations

import pytest

from tests.hosts.studio import LAYERS, Call, Studio, two_subjects

pytestmark = pytest.mark.usefixtures("untouched")
STEPS = 10
LEAST, MOST = 0.35, 0.65  # of the calls
UNEVEN = ("DPM adaptive", "Kohaku LoNyu Yog")  # as many calls as it needs; three a step in the first half, then one
RETURNS = ("Restart",)  # to more noise, and goes on from there


def test_half_of_the_steps_in_every_sampler(studio: Studio, measured: list[str]) -> None:
    request = two_subjects()
    for subject in request["subjects"]:
        subject["end"] = 0.5
    wrong, shares = [], []
    for sampler in studio.host.get("/sdapi/v1/samplers").body:
        name = sampler["name"]
        calls = studio.record(request, sampler_name=name, steps=STEPS)
        if not all(call.tensors["output"].isfinite().all() for call in calls):
            shares.append(f"{name}: no numbers, with SDXL's noise levels")  # Forge Neo's "RF" is for other models
            continue
        acting = [call.changed == LAYERS for call in calls]
        share = sum(acting) / len(acting)
        shares.append(f"{name} {sum(acting)} of {len(acting)}")
        is_ordered = name in RETURNS or by_noise(calls, acting)
        is_half = name in UNEVEN or LEAST <= share <= MOST
        if not (is_ordered and is_half and set(acting) == {True, False}):
            wrong.append(f"{name}: {acting}")
    measured.append(f"{studio.kind.name}: calls with a subject that ends at 0.5: {', '.join(shares)}")
    assert wrong == []


def by_noise(calls: list[Call], acting: list[bool]) -> bool:
    """Whether every call in which the subject acts is noisier than every other."""
    times = [float(call.tensors["timesteps"].max()) for call in calls]
    noisy = [time for time, acts in zip(times, acting) if acts]
    clean = [time for time, acts in zip(times, acting) if not acts]
    return min(noisy, default=0.0) > max(clean, default=0.0)
