"""The trained small world in real hosts: a scene of three subjects is the same picture from the API and from diffusers.

Runs after the tests that compare pictures of one loaded model, since it loads another one.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from lib_anyms.lab.world.draw import draw_reference, to_image
from lib_anyms.lab.world.identity import Identity
from lib_anyms.standalone.structure import SPRITES, attn2_layers
from tests.hosts.peer import Peer, gap, on_host
from tests.hosts.studio import Studio, encoded

CLOSE = 1e-4  # of the largest value compared
ROUNDING = 1  # of 255: hosts cut off, diffusers rounds
LAYERS = len(attn2_layers(SPRITES))
WORDS = {"prompt": "a star, a fish and a house on grass", "negative_prompt": "night", "steps": 20, "seed": 11}
SUBJECTS = {
    "star": (Identity("star", "red", "yellow", "half"), [0.04, 0.06, 0.46, 0.48]),
    "fish": (Identity("fish", "blue", "orange", "band"), [0.54, 0.08, 0.96, 0.5]),
    "house": (Identity("house", "pink", "purple", "spot"), [0.28, 0.54, 0.74, 0.98]),
}


def scene(**settings: Any) -> dict[str, Any]:
    """A request with one drawn reference picture a subject."""
    placed = [
        {"name": name, "images": [encoded(to_image(draw_reference(identity, Random(seed), 128)))], "box": box}
        for seed, (name, (identity, box)) in enumerate(SUBJECTS.items())
    ]
    return {"version": 1, "scale": 1.0, "subjects": placed, **settings}


@pytest.fixture(scope="module")
def peer(sprites: Studio) -> Peer:
    return Peer(sprites.files)


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_three_subjects_are_diffusers_picture(sprites: Studio, peer: Peer, measured: list[str], kind: str) -> None:
    sprites.needs("diffusers' timesteps")
    request = scene(adapter=sprites.files.adapters[kind].name)
    host = on_host(sprites, request, **WORDS)
    difference = gap(host, peer.make(request, **WORDS))
    plain = gap(host, peer.make(**WORDS))
    label = f"{sprites.host.place.name}, three sprites with {kind}"
    measured += [f"{label}: {difference}", f"{label}, against diffusers without AnyMS: {plain}"]
    assert max(difference.shares.values()) < CLOSE
    assert difference.pixels <= ROUNDING
    assert plain.pixels > 20 * ROUNDING  # the comparison covers the image stream


def test_every_layer_fires(sprites: Studio) -> None:
    calls = sprites.record(scene(adapter=sprites.files.adapters["plus"].name), width=256, height=256)
    assert [(call.fired, call.changed) for call in calls] == [(LAYERS, LAYERS)] * 3
