"""diffusers' pipeline from one file: configuration, tokenizer, weights, and one sentence for a wrong file.

test_demo.py runs it without a network.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from lib_anyms.errors import Refused
from lib_anyms.standalone.pipeline import clip_merges, clip_vocabulary, load_pipeline, read_checkpoint, write_configs
from lib_anyms.standalone.single_file import LOGIT_SCALE, Modules, single_file_state
from lib_anyms.standalone.structure import METADATA_KEY, SDXL, SMALL
from tests.support.files import random_files


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return load_file(random_files().checkpoint)


def refused(state: dict[str, torch.Tensor], path: Path) -> Refused:
    save_file(state, path, {METADATA_KEY: SMALL.to_json()})
    with pytest.raises(Refused) as refusal:
        read_checkpoint(path)
    return refusal.value


def test_sdxl_s_structure_is_sdxl_s_configuration(tmp_path: Path) -> None:
    """Values of stabilityai/stable-diffusion-xl-base-1.0."""
    write_configs(tmp_path, SDXL)

    def config(name: str) -> dict:
        return json.loads((tmp_path / name).read_text(encoding="utf-8"))

    unet = config("unet/config.json")
    assert unet["block_out_channels"] == [320, 640, 1280]
    assert unet["attention_head_dim"] == [5, 10, 20]
    assert unet["transformer_layers_per_block"] == [1, 2, 10]
    assert unet["cross_attention_dim"] == 2048
    assert unet["addition_time_embed_dim"] == 256
    assert unet["projection_class_embeddings_input_dim"] == 2816
    assert unet["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert unet["use_linear_projection"] is True
    first, second = config("text_encoder/config.json"), config("text_encoder_2/config.json")
    assert (first["hidden_size"], first["num_hidden_layers"], first["num_attention_heads"]) == (768, 12, 12)
    assert (second["hidden_size"], second["num_hidden_layers"], second["num_attention_heads"]) == (1280, 32, 20)
    assert (first["hidden_act"], second["hidden_act"], second["projection_dim"]) == ("quick_gelu", "gelu", 1280)
    assert config("vae/config.json")["scaling_factor"] == 0.13025
    assert config("vae/config.json")["block_out_channels"] == [128, 256, 512, 512]
    scheduler = config("scheduler/scheduler_config.json")
    assert (scheduler["beta_start"], scheduler["beta_end"], scheduler["beta_schedule"]) == (
        0.00085,
        0.012,
        "scaled_linear",
    )
    assert scheduler["prediction_type"] == "epsilon"


def test_the_tokenizer_is_clip_s(tmp_path: Path) -> None:
    merges = clip_merges()
    assert (len(merges), len(clip_vocabulary(merges))) == (48894, 49408)
    write_configs(tmp_path, SMALL)
    first, second = (CLIPTokenizer.from_pretrained(tmp_path / name) for name in ("tokenizer", "tokenizer_2"))
    assert first("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert first("A Photo  of a CAT")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = second("cat", padding="max_length", max_length=77)["input_ids"]
    assert padded == [49406, 2368, 49407, *[0] * 74]
    assert first("cat", padding="max_length", max_length=77)["input_ids"] == [49406, 2368, *[49407] * 75]


def test_every_weight_reaches_its_module(state: dict[str, torch.Tensor]) -> None:
    """diffusers reads the file, we write it back: each weight has its name and its values again."""
    pipe = load_pipeline(random_files().checkpoint, "cpu", torch.float32)
    back = single_file_state(Modules(pipe.unet, pipe.vae, pipe.text_encoder, pipe.text_encoder_2), SMALL)
    assert set(back) == set(state)
    moved = [name for name in back if name != LOGIT_SCALE and not torch.equal(back[name], state[name].float())]
    assert moved == []


def test_extra_weights_of_real_files_are_accepted(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "extras.safetensors"
    positions = {"conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    linear = {name: tensor[:, :, 0, 0] for name, tensor in state.items() if ".attn_1." in name and tensor.ndim == 4}
    assert len(linear) == 8
    extras = {name: tensor.contiguous() for name, tensor in {**positions, **linear}.items()}
    save_file({**state, **extras}, path, {METADATA_KEY: SMALL.to_json()})
    pipe = load_pipeline(path, "cpu", torch.float32)
    query = state["first_stage_model.decoder.mid.attn_1.q.weight"][:, :, 0, 0].float()
    assert torch.equal(pipe.vae.decoder.mid_block.attentions[0].to_q.weight, query)


def test_a_v_prediction_model_is_sampled_as_one(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    assert load_pipeline(random_files().checkpoint, "cpu", torch.float32).scheduler.config.prediction_type == "epsilon"
    save_file({**state, "v_pred": torch.ones(1)}, path, {METADATA_KEY: SMALL.to_json()})
    assert load_pipeline(path, "cpu", torch.float32).scheduler.config.prediction_type == "v_prediction"


def test_nine_input_channels_are_inpainting(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name = "model.diffusion_model.input_blocks.0.0.weight"
    wide = state[name].repeat(1, 3, 1, 1)[:, :9].contiguous()
    path = tmp_path / "inpaint.safetensors"
    save_file({**state, name: wide}, path, {METADATA_KEY: SMALL.to_json()})
    assert read_checkpoint(path).in_channels == 9
    assert load_pipeline(path, "cpu", torch.float32).unet.config.in_channels == 9
    assert refused({**state, name: wide[:, :8].contiguous()}, path).cause == "checkpoint_shape"


def test_a_wrong_file_is_one_sentence(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    some = torch.zeros(2, 2)
    kinds = {
        "lora_unet_input_blocks_4_1_proj_in.lora_down.weight": "a LoRA",
        "image_proj.latents": "weights of another model",
        "ip_adapter.1.to_k_ip.weight": "an IP-Adapter",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": "an SD 1.x checkpoint",
        "double_blocks.0.img_attn.qkv.weight": "a Flux model",
    }
    for name, description in kinds.items():
        refusal = refused({name: some}, path)
        assert refusal.cause == "checkpoint_kind"
        assert description in str(refusal)
    for prefix in ("first_stage_model.", "conditioner.embedders.1.model."):
        rest = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
        assert refused(rest, path).cause == "checkpoint_kind"
    lacking = dict(state)
    del lacking["model.diffusion_model.out.2.bias"]
    assert "out.2.bias" in str(refused(lacking, path))
    misshapen = {**state, "model.diffusion_model.out.2.bias": torch.zeros(5, dtype=torch.float16)}
    assert refused(misshapen, path).cause == "checkpoint_shape"
    path.write_bytes(b"no tensors")
    with pytest.raises(Refused) as refusal:
        read_checkpoint(path)
    assert refusal.value.cause == "checkpoint_unreadable"
    with pytest.raises(Refused):
        read_checkpoint(tmp_path / "absent.safetensors")
