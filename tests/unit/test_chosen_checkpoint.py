"""The UNet in a checkpoint's header, and the page's hint for the chosen checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.hosts.checkpoint import unet_outline
from lib_anyms.models.model_family import input_channels
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.tiny_unet import tiny_unet

PREFIX = "model.diffusion_model."
OLDER = {
    f"{PREFIX}input_blocks.{n}.1.transformer_blocks.0.attn2.to_{part}.weight": torch.zeros(8, width)
    for n in range(16)
    for part, width in (("q", 8), ("k", 768))
}


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    with fake_webui(tmp_path) as loaded:
        yield loaded


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in state.items()}


def layer_facts(unet: Any) -> list[tuple[int, str, int, int]]:
    layers = cross_attention_layers(unet)
    return [(layer.number, layer.name, layer.width, layer.context_width) for layer in layers]


def test_the_outline_of_a_header_has_the_layers_of_the_unet_in_their_order() -> None:
    unet = tiny_unet()
    outline = unet_outline({f"{PREFIX}{name}": shape for name, shape in shapes(unet.state_dict()).items()})
    assert layer_facts(outline) == layer_facts(unet)
    assert input_channels(outline) == input_channels(unet)
    assert all(weight.device.type == "meta" for weight in outline.parameters())


def test_a_header_without_a_unet_has_no_outline() -> None:
    assert unet_outline({}) is None
    assert unet_outline({"cond_stage_model.transformer.weight": (4, 4)}) is None
    packed = {name: (32, 1) if ".to_k." in name else shape for name, shape in shapes(OLDER).items()}
    assert unet_outline(packed) is None
    assert unet_outline({name: (*shape, 1) for name, shape in shapes(OLDER).items()}) is None


@pytest.mark.parametrize("loaded", [False, True])
def test_the_page_shows_the_problem_of_the_chosen_checkpoint(webui: FakeWebUI, tmp_path: Path, loaded: bool) -> None:
    model_hint, sd_models, unet = webui("lib_anyms.webui.ui.model_hint"), webui("modules.sd_models"), tiny_unet()
    (tmp_path / "ipadapter").mkdir()
    write_adapter(tmp_path / "ipadapter" / "some.safetensors", unet)
    write_encoder(tmp_path / "ipadapter" / "encoder.safetensors")
    fits, older = tmp_path / "fits.safetensors", tmp_path / "older.safetensors"
    save_file({f"{PREFIX}{name}": weight for name, weight in unet.state_dict().items()}, fits)
    save_file(OLDER, older)
    files = {path.name: SimpleNamespace(filename=str(path)) for path in (fits, older)}
    sd_models.get_closet_checkpoint_match = files.get
    if loaded:
        model = SimpleNamespace(diffusion_model=unet)
        sd_models.model_data.sd_model = SimpleNamespace(model=model, sd_checkpoint_info=files[fits.name])
    problem = model_hint.problem("auto", "auto", f"{model_hint.PREFIX}{older.name}")
    assert problem.endswith("so images are made without AnyMS. It is Stable Diffusion 1. Load an SDXL checkpoint.")
    for name in (fits.name, "none of these", ""):
        assert model_hint.problem("auto", "auto", f"{model_hint.PREFIX}{name}") == ""
    older.write_bytes(b"GGUF")
    assert model_hint.problem("auto", "auto", f"{model_hint.PREFIX}{older.name}") == ""  # only the host can read it


@pytest.mark.parametrize(
    ("facts", "watched"),
    [
        ({"elem_id": "setting_sd_model_checkpoint"}, 1),
        ({"label": "Checkpoint", "elem_classes": ["model_selection"]}, 1),  # Forge's, which has no id
        ({"label": "VAE / Text Encoder", "elem_classes": ["model_selection"]}, 0),
        ({"label": "Checkpoint", "elem_classes": None}, 0),
    ],
)
def test_each_host_s_list_of_checkpoints_is_known(webui: FakeWebUI, facts: dict[str, Any], watched: int) -> None:
    inputs: list[Any] = []
    component = SimpleNamespace(change=lambda **event: inputs.append(event["inputs"]))
    webui("lib_anyms.webui.ui.editor").watch_checkpoint(component, **facts)
    assert inputs == [[component]] * watched


def test_a_list_that_is_off_the_page_is_left_alone(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    gradio, editor = webui("gradio"), webui("lib_anyms.webui.ui.editor")
    monkeypatch.setattr(gradio.context.Context, "root_block", None)  # there gradio accepts no event
    editor.watch_checkpoint(SimpleNamespace(), elem_id=editor.CHECKPOINT)
