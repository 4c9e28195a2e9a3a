"""The LDM-named UNet is SDXL's: it has the outputs of diffusers for the same file."""

from __future__ import annotations

import pytest
import torch

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.standalone.random_sdxl import RandomFiles
from lib_anyms.standalone.structure import attn2_layers
from tests.contract.hosts import StandIn
from tests.contract.jobs import STRUCTURE
from tests.contract.ldm_unet import CrossAttention, load_ldm_unet, sdp_forward, split_forward
from tests.hosts.replay import Given


def inputs(height: int, width: int) -> dict[str, torch.Tensor]:
    make = torch.Generator().manual_seed(4)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make)

    return {
        "x": random(2, 4, height, width),
        "timesteps": torch.tensor([7.0, 801.0]),
        "context": random(2, 77, STRUCTURE.context_width),
        "y": random(2, STRUCTURE.added_width),
    }


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(16, 24), (8, 8), (13, 9)])
def test_its_outputs_equal_those_of_diffusers(stand_ins: dict[str, StandIn], height: int, width: int) -> None:
    call_inputs = inputs(height, width)
    diffusers_unet = stand_ins["diffusers"].unet
    pooled = STRUCTURE.text_2.projection
    diffusers_unet.add_time_proj = Given(call_inputs["y"][:, pooled:])
    added = {"text_embeds": call_inputs["y"][:, :pooled], "time_ids": torch.zeros(2, 6)}
    expected = diffusers_unet(
        call_inputs["x"], call_inputs["timesteps"], call_inputs["context"], added_cond_kwargs=added
    ).sample
    unet = stand_ins["forge"].unet
    assert (unet(**call_inputs) - expected).abs().max() <= 1e-4
    assert expected.abs().max() > 0.5
    if height % 4 == width % 4 == 0:
        assert torch.equal(stand_ins["a1111"].unet(**call_inputs), unet(**call_inputs))


@torch.no_grad()
@pytest.mark.parametrize("forward", [sdp_forward, split_forward])
def test_all_attention_functions_agree(files: RandomFiles, forward, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, call_inputs = load_ldm_unet(files.checkpoint, STRUCTURE), inputs(8, 12)
    expected = unet(**call_inputs)
    called = []
    unet.middle_block[1].transformer_blocks[0].attn2.to_out.register_forward_hook(lambda *_: called.append(1))
    monkeypatch.setattr(CrossAttention, "forward", forward)
    assert (unet(**call_inputs) - expected).abs().max() <= 1e-5
    assert not called


def test_its_layers_are_sdxl_s(files: RandomFiles) -> None:
    unet = load_ldm_unet(files.checkpoint, STRUCTURE)
    assert [(layer.name, layer.width) for layer in cross_attention_layers(unet)] == attn2_layers(STRUCTURE)
