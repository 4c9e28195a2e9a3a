"""Who replaces the forward of a UNet: an extension, by a function of the object or of its class."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from lib_anyms.engine.skipped import SkipCounter, Skipped, module_of, replaced_by


class UNet(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


class Inpainting(UNet):
    """Inherits its forward."""


def of(module: str) -> Any:
    def forward(_unet: Any, x: Any) -> Any:
        return x

    forward.__module__ = module
    return forward


@pytest.mark.parametrize("module", ["blockcache.py", "lib_teacache.forward"])
@pytest.mark.parametrize("place", ["object", "class"])
def test_an_extension_s_forward_is_named(monkeypatch: pytest.MonkeyPatch, place: str, module: str) -> None:
    unet = Inpainting()
    assert replaced_by(unet) == ""
    monkeypatch.setattr(unet if place == "object" else UNet, "forward", of(module))
    assert replaced_by(unet) == module


@pytest.mark.parametrize("module", ["modules.sd_unet", "backend.nn.unet", "ldm_patched.ldm.modules", "sgm.modules"])
def test_a_host_s_forward_is_not_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(UNet, "forward", of(module))
    assert replaced_by(UNet()) == ""


def test_a_callable_object_is_of_its_class_s_module() -> None:
    assert module_of(UNet()) == __name__
    assert module_of(of("a.b")) == "a.b"


def test_counts_and_names_are_kept_apart() -> None:
    counter = SkipCounter()
    assert (counter.result, counter.result.times) == (Skipped(), 0)
    for kind, by in (("steps", "b"), ("partial", ""), ("steps", "a"), ("silent", "b")):
        counter.add(kind, by)
    assert counter.result == Skipped(steps=2, silent=1, partial=1, by=("a", "b"))
    assert counter.result.times == 4
