"""Which host a job is of, told by its objects, and what is read off them.

The stand-ins are classes of the hosts' own modules.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts import detect
from lib_anyms.hosts.a1111 import A1111
from lib_anyms.hosts.facts import host_name
from lib_anyms.hosts.forge import Forge
from lib_anyms.hosts.ldm_patched import LdmPatched
from tests.support.tiny_unet import tiny_unet

# host: the package its patcher comes from, and how its forge_version calls it (seen at the commits of docs/hosts.md)
WHO = {
    "Forge": ("backend.patcher.base", "2.0.1v1.10.1"),
    "Forge Neo": ("backend.patcher.base", "neo"),
    "reForge": ("ldm_patched.modules.model_patcher", "1.0.0v2-v1.10.1RC"),
    "Forge classic": ("ldm_patched.modules.model_patcher", "classic"),
}


def patcher_of(module: str, **model: Any) -> Any:
    """As `forge_objects.unet`: the class of the host's own package is an ancestor, not the object's own class."""
    base = type("ModelPatcher", (), {"__module__": module})
    kind = type("UnetPatcher", (base,), {"__module__": "modules_forge.unet_patcher"})
    made = kind()
    made.model = SimpleNamespace(diffusion_model=tiny_unet(), **model)
    return made


def job_of(patcher: Any) -> SimpleNamespace:
    return SimpleNamespace(sd_model=SimpleNamespace(forge_objects=SimpleNamespace(unet=patcher)))


def module_of(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> ModuleType:
    """A loaded module, and the packages it lies in."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(".".join(parts[:end])))
    made = sys.modules[name]
    vars(made).update(values)
    if len(parts) > 1:
        setattr(sys.modules[".".join(parts[:-1])], parts[-1], made)
    return made


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("modules_forge", "ldm_patched", "backend", "modules")
    ]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("who", WHO)
def test_a_host_is_told_by_its_patcher_and_named_by_its_version(
    forge: None, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    package, version = WHO[who]
    module_of(monkeypatch, "modules_forge.forge_version", version=version)
    host = detect(job_of(patcher_of(package)))
    assert type(host) is (LdmPatched if package.startswith("ldm_patched") else Forge)
    assert host.name == who


@pytest.mark.parametrize("who", WHO)
def test_the_host_is_named_without_a_job(forge: None, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    package, version = WHO[who]
    assert host_name() == "A1111"
    module_of(monkeypatch, "modules_forge.forge_version", version=version)
    manager = {"backend": "backend.memory_management", "ldm_patched": "ldm_patched.modules.model_management"}
    module_of(monkeypatch, manager[package.partition(".")[0]])
    assert host_name() == who


def test_an_unheard_of_version_is_the_host_it_comes_from(forge: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module_of(monkeypatch, "modules_forge.forge_version", version="0.0.17v1.8.0rc")
    assert detect(job_of(patcher_of("backend.patcher.base"))).name == "Forge"
    assert detect(job_of(patcher_of("ldm_patched.modules.model_patcher"))).name == "Forge before backend/"


def test_a1111_and_what_is_no_webui() -> None:
    whole = SimpleNamespace(model=SimpleNamespace(diffusion_model=tiny_unet()))
    assert type(detect(SimpleNamespace(sd_model=whole))) is A1111
    with pytest.raises(SteppedAside) as told:
        detect(SimpleNamespace(sd_model=SimpleNamespace()))
    assert told.value.cause == "no_unet"


@pytest.mark.parametrize("package", ["backend.patcher.base", "ldm_patched.modules.model_patcher"])
def test_a_family_member_without_a_model_is_stepped_aside_for(package: str) -> None:
    patcher = patcher_of(package)
    patcher.model = None
    with pytest.raises(SteppedAside):
        detect(job_of(patcher)).unet()
    with pytest.raises(SteppedAside):
        detect(job_of(None)).unet()


@pytest.mark.parametrize("package", ["backend.patcher.base", "ldm_patched.modules.model_patcher"])
def test_rows_are_read_at_every_call(package: str) -> None:
    host = detect(job_of(patcher_of(package)))
    x = torch.zeros(6, 4, 8, 8)
    flags = {"transformer_options": {"cond_or_uncond": [1, 0, 0]}}
    assert host.rows((x,), flags) == CondMap((False, False, True, True, True, True))
    assert host.rows((), {"x": x[:2], "transformer_options": {"cond_or_uncond": [0]}}) == CondMap((True, True))
    for wrong in ({}, {"transformer_options": {}}, {"transformer_options": {"cond_or_uncond": [1, 0, 0, 0]}}):
        with pytest.raises(Refused) as told:
            host.rows((x,), wrong)
        assert told.value.cause == "rows_unknown"


@pytest.mark.parametrize(("stored", "cast"), [(torch.float16, None), (torch.float8_e4m3fn, torch.bfloat16)])
def test_ldm_patched_tells_in_what_it_samples(stored: torch.dtype, cast: torch.dtype | None) -> None:
    patcher = patcher_of("ldm_patched.modules.model_patcher", manual_cast_dtype=cast, get_dtype=lambda: stored)
    assert detect(job_of(patcher)).dtype() == (cast or stored)


def test_forge_tells_in_what_it_samples() -> None:
    assert (
        detect(job_of(patcher_of("backend.patcher.base", computation_dtype=torch.bfloat16))).dtype() == torch.bfloat16
    )


@pytest.mark.parametrize(
    ("package", "manager"),
    [
        ("backend.patcher.base", "backend.memory_management"),
        ("ldm_patched.modules.model_patcher", "ldm_patched.modules.model_management"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_room_is_asked_of_the_host_s_own_manager(
    forge: None, monkeypatch: pytest.MonkeyPatch, package: str, manager: str, device: str
) -> None:
    asked: list[tuple[int, torch.device]] = []
    module_of(monkeypatch, manager, get_torch_device=lambda: device, free_memory=lambda *given: asked.append(given))
    host = detect(job_of(patcher_of(package)))
    assert host.device() == torch.device(device)
    host.make_room(5)
    assert asked == ([] if device == "cpu" else [(5, torch.device(device))])


def step(number: int) -> SimpleNamespace:
    return SimpleNamespace(denoiser=SimpleNamespace(step=number, total_steps=4), total_sampling_steps=4)


def test_weights_exchanged_within_the_same_unet_are_noticed(forge: None, monkeypatch: pytest.MonkeyPatch) -> None:
    host = detect(job_of(patcher_of("backend.patcher.base")))
    host.begin_step(step(0))
    common = module_of(monkeypatch, "modules.sd_samplers_common", ORIGINAL_CHECKPOINT=None)
    host.begin_step(step(1))
    assert host.progress() == 0.25
    vars(common)["ORIGINAL_CHECKPOINT"] = "base.safetensors"
    with pytest.raises(SteppedAside, match="exchanged at 50%"):
        host.begin_step(step(2))
