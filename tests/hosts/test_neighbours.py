"""Other extensions in the same picture: LoRA files, ControlNet, IP-Adapter, guidance, regional prompts.

Each test compares the picture with the neighbour's alone and with AnyMS's alone and, where it is cheap, with another
computation. ANYMS_NEIGHBOURS_DIR names a folder with extensions that not every host has: sd-forge-couple and, for
A1111, sd-webui-controlnet (its requirements in A1111's environment).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.hosts.neighbour_models import write_controlnet, write_lora
from tests.hosts.neighbours import (
    Scripts,
    all_layers,
    beside,
    needs_script,
    once_more,
    paint_beside,
)
from tests.hosts.replay import Replay
from tests.hosts.studio import Studio, as_before, encoded, reference, two_subjects

pytestmark = pytest.mark.usefixtures("untouched")
CLOSE = 1e-4
SQUARE = reference("orange", (224, 224))  # the image encoder's size: no fitting needed


# -- LoRA --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lora:
    """A LoRA file, and `merged`: the model's files with the LoRA merged into the checkpoint."""

    word: str
    merged: RandomFiles


@pytest.fixture
def lora(studio: Studio, tmp_path: Path) -> Iterator[Lora]:
    file, merged = studio.host.data / "models" / "Lora" / "tiny lôra.safetensors", tmp_path / "merged.safetensors"
    write_lora(studio.files.checkpoint, file, merged)
    studio.host.post("/sdapi/v1/refresh-loras", {})
    yield Lora(f"<lora:{file.stem}:1>", replace(studio.files, checkpoint=merged))
    file.unlink()


def test_a_lora(studio: Studio, lora: Lora) -> None:
    """The UNet's output equals diffusers' with the LoRA merged and AnyMS on it."""
    prompt = f"a cat and a dog on a beach {lora.word}"
    job, calls = studio.watch(two_subjects(), prompt=prompt)
    assert all_layers(calls)
    assert (
        len(
            {studio.paint(prompt=prompt).pixels[0], studio.baseline.pixels[0], studio.composed.pixels[0], job.pixels[0]}
        )
        == 4
    )
    assert max(Replay(lora.merged).differences(calls, two_subjects())) < CLOSE
    assert max(Replay(studio.files).differences(calls, two_subjects())) > 100 * CLOSE


# -- what Forge has built in -------------------------------------------------------------------------------------------

FREEU, SAG, PAG = (f"{name} Integrated" for name in ("FreeU", "SelfAttentionGuidance", "PerturbedAttentionGuidance"))
GUIDANCE: dict[str, tuple[list[Any], int]] = {  # start of a title -> arguments, UNet calls a step
    FREEU: ([True, 1.3, 1.4, 0.9, 0.2, 0.0, 1.0], 1),
    SAG: ([True, 0.5, 2.0, 1.0], 2),
    PAG: ([True, 3.0, 0.0, 0.0, 1.0], 2),
}


@pytest.mark.parametrize("title", GUIDANCE)
def test_guidance(studio: Studio, title: str) -> None:
    arguments, times = GUIDANCE[title]
    _, calls = beside(studio, {needs_script(studio, title): arguments})
    assert len(calls) == 3 * times
    assert {call.is_cond for call in calls[1::times]} == (
        {(False,)} if title == SAG else {(True,)} if title == PAG else {(False, True)}
    )
    if title == SAG:  # its additional call uses the negative text, so it sees the same as the unconditional call
        assert max(Replay(studio.files).differences(calls, two_subjects())) < CLOSE


def test_kohya_hrfix(studio: Studio) -> None:
    """HRFix halves the feature map from block 3 on, here in all steps: the first layer has 4 x 6 tokens, not 8 x 12."""
    title = needs_script(studio, "Kohya HRFix Integrated")
    request = two_subjects(subjects=[{"name": "cat", "images": [encoded(SQUARE)], "box": [0.5, 0, 1, 0.5]}])
    _, calls = beside(studio, {title: [True, 3, 2.0, 0.0, 1.0, True, "bicubic", "bicubic"]}, request)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[:2, 3:] = True
    for call in calls:
        assert torch.equal(call.tensors["touched"].bool().unflatten(1, (4, 6)), expected.expand(2, 4, 6))


# -- ControlNet --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_controlnet(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A host with ControlNet built in, or A1111 again with sd-webui-controlnet."""
    if studio.kind.name != "A1111":
        needs_script(studio, "ControlNet")
        yield studio
        return
    with once_more(studio, "sd-webui-controlnet", tmp_path_factory.mktemp("controlled")) as loaded:
        yield loaded


@pytest.fixture
def controlled(with_controlnet: Studio) -> Iterator[Studio]:
    with as_before(with_controlnet) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def control_files(with_controlnet: Studio) -> Iterator[dict[str, str]]:
    """ControlNet's names of a ControlNet and an IP-Adapter in its model folder."""
    folder = with_controlnet.host.data / "models" / "ControlNet"
    files = {"hint": folder / "tiny-control.safetensors", "base": folder / "tiny-forge-ip.safetensors"}
    write_controlnet(with_controlnet.files.checkpoint, files["hint"])
    shutil.copy(with_controlnet.files.adapters["base"], files["base"])
    with_controlnet.host.post("/anyms-probe/refresh-controlnet", {})
    names = with_controlnet.host.get("/controlnet/model_list").body["model_list"]
    yield {what: next(name for name in names if name.startswith(path.stem)) for what, path in files.items()}
    for path in files.values():
        path.unlink()


def unit(model: str, picture: Image.Image, module: str = "", weight: float = 1.0) -> Scripts:
    """One ControlNet unit without a preprocessor; hosts name that value differently."""
    fields = {"enabled": True, "model": model, "image": encoded(picture), "weight": weight}
    preprocessor = {"module": module} if module else {}
    return {"ControlNet": [{**fields, **preprocessor, "processor_res": 224, "save_detected_map": False}]}


def chosen(studio: Studio, **settings: Any) -> dict[str, Any]:
    return two_subjects(adapter=studio.files.adapters["base"].name, **settings)


def test_controlnet(controlled: Studio, control_files: dict[str, str]) -> None:
    hint = Image.new("RGB", (192, 128), "black")
    hint.paste("white", (30, 20, 120, 100))
    _, calls = beside(controlled, unit(control_files["hint"], hint), chosen(controlled))
    assert len(calls) == 3


def test_controlnet_s_own_ip_adapter(controlled: Studio, control_files: dict[str, str]) -> None:
    """With one subject in the whole picture AnyMS is IP-Adapter, so the two can share the weight."""
    controlled.needs("its IP-Adapter")
    kind = controlled.kind
    own = unit(control_files["base"], SQUARE, kind.clip, 0.4 ** (1 / kind.ip_weights))
    cat = {"name": "cat", "images": [encoded(SQUARE)], "box": [0, 0, 1, 1]}
    half = chosen(controlled, scale=0.4, subjects=[cat])
    _, both = beside(controlled, own, half)
    whole = controlled.record(chosen(controlled, scale=0.8, subjects=[cat]))
    assert len(both) == len(whole)
    for one, other in zip(both, whole):
        assert (one.tensors["output"] - other.tensors["output"]).abs().max() < CLOSE


def test_controlnet_s_own_ip_adapter_beside_two_subjects(controlled: Studio, control_files: dict[str, str]) -> None:
    controlled.needs("its IP-Adapter")
    beside(controlled, unit(control_files["base"], SQUARE, controlled.kind.clip, 0.6), chosen(controlled))


def test_controlnet_s_reference(controlled: Studio) -> None:
    """It also runs the UNet on its own picture: in A1111 in the same call, in Forge's family in a separate call."""
    a1111 = controlled.kind.name == "A1111"
    picture = unit(
        "None", reference("green", (192, 128)), "reference_only", 2.0
    )  # a high weight, to act on narrow layers too
    _, calls = beside(controlled, picture, chosen(controlled), times=2 if a1111 else 1)
    assert len(calls) == (3 if a1111 else 6)


# -- regional prompts --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_couple(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if studio.kind.name == "A1111":
        pytest.skip("host: not an option in A1111: Forge Couple is made for the Forge family")
    with once_more(studio, "sd-forge-couple", tmp_path_factory.mktemp("coupled")) as loaded:
        yield loaded


@pytest.fixture
def coupled(with_couple: Studio) -> Iterator[Studio]:
    with as_before(with_couple) as loaded:
        yield loaded


LINES = "a cat on the left\na dog on the right"


def couple(background: str = "None") -> Scripts:
    """Columns of equal width, one line of the prompt each."""
    return {
        "Forge Couple": [
            True,
            False,
            "Basic",
            "\\n",
            "Horizontal",
            background,
            0.5,
            None,
            "off",
            False,
            False,
            *[None] * 6,
        ]
    }


@pytest.mark.parametrize("lines", [2, 3])
def test_regional_texts_and_regional_pictures(coupled: Studio, lines: int) -> None:
    """The conditional entry is in a layer's batch once, and once a line, padded to even: each copy gets the same."""
    prompt = "\n".join(["a beach", *LINES.splitlines()][-lines:])
    _, calls = beside(coupled, couple(), prompt=prompt)
    for call in calls:
        added = call.tensors["added"]
        conditional = call.is_cond.index(True)
        copies = added[conditional : conditional + 1 + lines]
        assert len(added) == 2 + lines + lines % 2
        assert copies.abs().max() > 0
        assert (copies - copies[:1]).abs().max() < CLOSE
        assert (
            added[1 + lines if conditional == 0 else 0] - copies[0]
        ).abs().max() > 100 * CLOSE  # the unconditional entry


def test_equal_regional_texts_are_one_text(coupled: Studio) -> None:
    """Masks that sum to 1 over one text: the UNet's output equals diffusers' for that text and our pictures."""
    plain = coupled.record(two_subjects(), prompt="a cat and a dog")
    _, calls = beside(coupled, couple(), prompt="a cat and a dog\na cat and a dog")
    with_one_text = [replace(call, tensors={**call.tensors, "context": plain[0].tensors["context"]}) for call in calls]
    assert [call.is_cond for call in calls] == [plain[0].is_cond] * 3
    assert max(Replay(coupled.files).differences(with_one_text, two_subjects())) < CLOSE


def texts_step_aside(studio: Studio, scripts: Scripts, prompt: str) -> None:
    """Beside regional texts the subjects' prompts change nothing, and one sentence says so."""
    cat, dog = two_subjects()["subjects"]
    cat |= {"prompt": "black fur", "avoid": "grass"}
    worded = two_subjects(subjects=[cat, dog], elsewhere="sand")
    pictures = paint_beside(studio, scripts, two_subjects(), prompt=prompt)
    assert pictures.pixels != paint_beside(studio, scripts, prompt=prompt).pixels  # ours act
    assert studio.paint(worded, prompt=prompt).pixels != studio.paint(two_subjects(), prompt=prompt).pixels
    job = paint_beside(studio, scripts, worded, prompt=prompt)
    assert job.pixels == pictures.pixels
    assert studio.host.tail().count("another extension sets the text of each region") == 1


def test_the_subjects_prompts_step_aside_for_forge_couple(coupled: Studio) -> None:
    texts_step_aside(coupled, couple(), LINES)


@pytest.fixture(scope="module")
def with_regions(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if studio.kind.name != "A1111":
        pytest.skip(f"host: not an option in {studio.kind.name}: Regional Prompter is tested in A1111")
    with once_more(studio, "sd-webui-regional-prompter", tmp_path_factory.mktemp("regional")) as loaded:
        yield loaded


@pytest.fixture
def regional(with_regions: Studio) -> Iterator[Studio]:
    with as_before(with_regions) as loaded:
        yield loaded


# Two columns; attention mode; no base and no common prompt.
COLUMNS: Scripts = {
    "Regional Prompter": [
        *(True, False, "Matrix", "Columns", "Mask", "Prompt", "1,1", "0.2", False, False, False, "Attention"),
        *([], "0", "0", "0.4", None, "0", "0", False),
    ]
}


def test_the_subjects_prompts_step_aside_for_regional_prompter(regional: Studio) -> None:
    texts_step_aside(regional, COLUMNS, "a cat on the left BREAK a dog on the right")
