"""The small world's structure, untrained, loaded by the hosts as a user's checkpoint, compared with diffusers.

Runs after the tests that compare pictures of one loaded model, since it loads another one.
"""

from __future__ import annotations

import pytest

from lib_anyms.standalone.structure import SPRITES, attn2_layers
from tests.hosts.peer import Peer, gap, on_host
from tests.hosts.replay import Replay
from tests.hosts.studio import Studio, two_subjects

CLOSE = 1e-4  # of the largest value compared
LAYERS = len(attn2_layers(SPRITES))


@pytest.fixture(scope="module")
def replay(untrained: Studio) -> Replay:
    return Replay(untrained.files)


@pytest.fixture(scope="module")
def peer(untrained: Studio) -> Peer:
    return Peer(untrained.files)


@pytest.mark.parametrize("adapter", ["", "base", "plus"])
def test_the_unet_gives_what_diffusers_gives(
    untrained: Studio, replay: Replay, measured: list[str], adapter: str
) -> None:
    request = two_subjects(adapter=untrained.files.adapters[adapter].name) if adapter else None
    calls = untrained.record(request, width=256, height=256)
    assert [(call.fired, call.changed) for call in calls] == [(LAYERS, LAYERS) if adapter else (0, 0)] * 3
    largest = [call.tensors["output"].abs().max().item() for call in calls]
    difference = max(off / size for off, size in zip(replay.differences(calls, request), largest))
    what = f"AnyMS with {adapter}" if adapter else "plain UNet"
    measured.append(
        f"{untrained.host.place.name}, untrained sprites, {what}: {difference:.1e} of the output's largest value"
    )
    assert difference < CLOSE


def test_the_picture_is_diffusers_picture(untrained: Studio, peer: Peer, measured: list[str]) -> None:
    untrained.needs("diffusers' timesteps")
    host = on_host(untrained)
    difference = gap(host, peer.make())
    measured.append(
        f"{untrained.host.place.name}, untrained sprites, 8 steps from the same words and noise: {difference}"
    )
    with peer.reading_as("epsilon"):
        wrong = gap(host, peer.make())
    measured.append(f"{untrained.host.place.name}, the same with diffusers taking v for noise: {wrong}")
    assert max(difference.shares.values()) < CLOSE
    assert difference.pixels <= 2
    assert wrong.pixels > 100  # the comparison distinguishes the two
