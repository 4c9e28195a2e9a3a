"""Detecting a job's host by its objects, and reading them. The stand-ins are classes of the hosts' own modules."""

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

# host: the package of its patcher, and its forge_version (at the commits of docs/hosts.md)
WHO = {
    "Forge": ("backend.patcher.base", "2.0.1v1.10.1"),
    "Forge Neo": ("backend.patcher.base", "neo"),
    "reForge": ("ldm_patched.modules.model_patcher", "1.0.0v2-v1.10.1RC"),
    "Forge classic": ("ldm_patched.modules.model_patcher", "classic"),
}


def test_who_leads_the_text_is_read_off_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regional Prompter replaces each cross-attention's forward; so does ControlNet's IP-Adapter, with no text."""
    host, unet = A1111(SimpleNamespace()), tiny_unet()
    monkeypatch.setattr(A1111, "unet", lambda _self: unet)
    assert host.text_led_by() is None
    layers = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    for module, leader in (("scripts.attention", "Regional Prompter"), ("scripts.hook", None)):

        def forward(x: Any, context: Any = None) -> Any:
            return x

        forward.__module__ = module
        for layer in layers:
            layer.forward = forward
        assert host.text_led_by() == leader
    for layer in layers:
        del layer.forward
    assert host.text_led_by() is None


def patcher_of(module: str, **model: Any) -> Any:
    """Like `forge_objects.unet`: an ancestor of its class is in the host's package, not the class itself."""
    base = type("ModelPatcher", (), {"__module__": module})
    kind = type("UnetPatcher", (base,), {"__module__": "modules_forge.unet_patcher"})
    patcher = kind()
    patcher.model = SimpleNamespace(diffusion_model=tiny_unet(), **model)
    return patcher


def job_of(patcher: Any) -> SimpleNamespace:
    return SimpleNamespace(sd_model=SimpleNamespace(forge_objects=SimpleNamespace(unet=patcher)))


def module_of(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> ModuleType:
    """A loaded module, with its packages."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(".".join(parts[:end])))
    patcher = sys.modules[name]
    vars(patcher).update(values)
    if len(parts) > 1:
        setattr(sys.modules[".".join(parts[:-1])], parts[-1], patcher)
    return patcher


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("modules_forge", "ldm_patched", "backend", "modules")
    ]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("who", WHO)
def test_a_host_is_detected_by_its_patcher_and_named_by_its_version(
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


def test_an_unknown_version_is_the_host_it_derives_from(forge: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module_of(monkeypatch, "modules_forge.forge_version", version="0.0.17v1.8.0rc")
    assert detect(job_of(patcher_of("backend.patcher.base"))).name == "Forge"
    assert detect(job_of(patcher_of("ldm_patched.modules.model_patcher"))).name == "Forge before backend/"


def test_the_main_prompt_is_that_of_the_pass() -> None:
    job = SimpleNamespace(prompt="a cat <lora:fur:1>")
    assert A1111(job).prompt() == "a cat <lora:fur:1>"
    job = SimpleNamespace(prompts=["a cat", "a dog"], hr_prompts=["a tiger", "a wolf"], is_hr_pass=False)
    assert A1111(job).prompt() == "a cat"
    job.is_hr_pass = True
    assert A1111(job).prompt() == "a tiger"


def test_a1111_is_detected_and_another_program_is_not() -> None:
    whole = SimpleNamespace(model=SimpleNamespace(diffusion_model=tiny_unet()))
    assert type(detect(SimpleNamespace(sd_model=whole))) is A1111
    with pytest.raises(SteppedAside) as error:
        detect(SimpleNamespace(sd_model=SimpleNamespace()))
    assert error.value.cause == "no_unet"


@pytest.mark.parametrize("package", ["backend.patcher.base", "ldm_patched.modules.model_patcher"])
def test_a_forge_host_without_a_model_steps_aside(package: str) -> None:
    patcher = patcher_of(package)
    patcher.model = None
    with pytest.raises(SteppedAside):
        detect(job_of(patcher)).unet()
    with pytest.raises(SteppedAside):
        detect(job_of(None)).unet()


@pytest.mark.parametrize("package", ["backend.patcher.base", "ldm_patched.modules.model_patcher"])
def test_the_cond_map_is_read_at_every_call(package: str) -> None:
    host = detect(job_of(patcher_of(package)))
    x = torch.zeros(6, 4, 8, 8)
    flags = {"transformer_options": {"cond_or_uncond": [1, 0, 0]}}
    assert host.cond_map((x,), flags) == CondMap((False, False, True, True, True, True))
    assert host.cond_map((), {"x": x[:2], "transformer_options": {"cond_or_uncond": [0]}}) == CondMap((True, True))
    for wrong in ({}, {"transformer_options": {}}, {"transformer_options": {"cond_or_uncond": [1, 0, 0, 0]}}):
        with pytest.raises(Refused) as error:
            host.cond_map((x,), wrong)
        assert error.value.cause == "rows_unknown"


@pytest.mark.parametrize(("stored", "cast"), [(torch.float16, None), (torch.float8_e4m3fn, torch.bfloat16)])
def test_the_dtype_ldm_patched_samples_in(stored: torch.dtype, cast: torch.dtype | None) -> None:
    patcher = patcher_of("ldm_patched.modules.model_patcher", manual_cast_dtype=cast, get_dtype=lambda: stored)
    assert detect(job_of(patcher)).dtype() == (cast or stored)


def test_the_dtype_forge_samples_in() -> None:
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
def test_room_is_made_by_the_host_s_own_memory_manager(
    forge: None, monkeypatch: pytest.MonkeyPatch, package: str, manager: str, device: str
) -> None:
    requests: list[tuple[int, torch.device]] = []
    module_of(
        monkeypatch, manager, get_torch_device=lambda: device, free_memory=lambda *arguments: requests.append(arguments)
    )
    host = detect(job_of(patcher_of(package)))
    assert host.device() == torch.device(device)
    host.make_room(5)
    assert requests == ([] if device == "cpu" else [(5, torch.device(device))])


def step(number: int) -> SimpleNamespace:
    return SimpleNamespace(denoiser=SimpleNamespace(step=number, total_steps=4), total_sampling_steps=4)


def test_weights_replaced_within_the_same_unet_are_noticed(forge: None, monkeypatch: pytest.MonkeyPatch) -> None:
    host = detect(job_of(patcher_of("backend.patcher.base")))
    host.begin_step(step(0))
    common = module_of(monkeypatch, "modules.sd_samplers_common", ORIGINAL_CHECKPOINT=None)
    host.begin_step(step(1))
    assert host.progress() == 0.25
    vars(common)["ORIGINAL_CHECKPOINT"] = "base.safetensors"
    with pytest.raises(SteppedAside, match="replaced at 50%"):
        host.begin_step(step(2))
