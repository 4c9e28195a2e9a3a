"""The vocabulary of the contract tests: requests, and the comparison of a job's UNet calls with the oracle."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from lib_anyms.job.request import Request
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.contract.hosts import StandIn
from tests.contract.jobs import Painted
from tests.contract.oracle_unet import Oracle

WEBUIS = ("a1111", "forge")
CLOSE, FAR = 1e-5, 1e-3  # as a share of the UNet's largest output: rounding, and a visible effect
C, U = True, False


def on(*hosts: str) -> pytest.MarkDecorator:
    """Run a case on these hosts only."""
    return pytest.mark.parametrize("host", hosts, indirect=True)


def subject(colour: str, *box: float, **fields: Any) -> dict[str, Any]:
    return {"name": colour, "box": list(box), "images": [Image.new("RGB", (9, 9), colour)], **fields}


def two(**settings: Any) -> dict[str, Any]:
    """Two subjects whose boxes overlap."""
    subjects = [subject("red", 0, 0, 0.6, 0.7), subject("blue", 0.4, 0.3, 1, 0.8, weight=0.8)]
    return {"scale": 0.9, "subjects": subjects, **settings}


def one(**fields: Any) -> dict[str, Any]:
    return {"scale": 0.9, "subjects": [subject("red", 0.1, 0, 0.8, 0.9, **fields)]}


class Judge:
    """Compares a host's UNet calls with the oracle."""

    def __init__(self, files: RandomFiles) -> None:
        self.files = files

    def differences(self, host: StandIn, painted: Painted, request: Any = None, **neighbours: Any) -> list[float]:
        job_request = Request.from_json(request) if request is not None else None
        return Oracle(self.files, job_request, host.name != "a1111", **neighbours).differences(painted.calls)

    def right(self, host: StandIn, painted: Painted, request: Any, **neighbours: Any) -> Painted:
        """Every call equals the oracle's, and AnyMS acts in the first."""
        assert painted.calls
        assert max(self.differences(host, painted, request, **neighbours)) <= CLOSE
        if request is not None:
            first = Painted([], painted.calls[:1], {}, [])
            assert self.differences(host, first, **neighbours)[0] > FAR
        return painted

    def acting(self, host: StandIn, painted: Painted, **neighbours: Any) -> list[bool]:
        """For each call, whether its output differs from the plain UNet's."""
        return [difference > CLOSE for difference in self.differences(host, painted, **neighbours)]


def flags(painted: Painted) -> list[tuple[bool, ...]]:
    return [call.is_cond for call in painted.calls]
