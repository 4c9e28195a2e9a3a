"""The image encoder: its unconditional input, and the settings it reads from the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.encoder import CONFIG_KEY, Encoder, read_encoder
from lib_anyms.tensor_files.tensor_file import open_tensors
from tests.support.adapter_files import HIDDEN, PROJECTION, VISION, write_encoder


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.safetensors")


def test_unconditional_is_zeros_for_base_and_encoded_zero_pixels_for_plus(path: Path) -> None:
    encoder = Encoder(read_encoder(path), torch.device("cpu"), torch.float32)
    assert torch.equal(encoder.encode_unconditional("base"), torch.zeros(1, PROJECTION))
    size = VISION["image_size"]
    with torch.no_grad():
        grey = encoder._model(pixel_values=torch.zeros(1, 3, size, size), output_hidden_states=True).hidden_states[-2]
    assert torch.equal(encoder.encode_unconditional("plus"), grey)
    assert grey.shape == (1, (size // VISION["patch_size"]) ** 2 + 1, HIDDEN)
    assert grey.abs().max() > 0


def test_the_header_describes_an_encoder(path: Path) -> None:
    described = read_encoder(path)
    assert (described.width_for("base"), described.width_for("plus"), described.image_size) == (PROJECTION, HIDDEN, 32)


def test_unknown_widths_and_missing_parts_are_refused(path: Path, tmp_path: Path) -> None:
    state = load_file(path)
    save_file(state, tmp_path / "no-config.safetensors")
    with pytest.raises(Refused, match="hidden width 24"):
        read_encoder(tmp_path / "no-config.safetensors")
    broken = {name: tensor for name, tensor in state.items() if "layers.1.mlp.fc2.weight" not in name}
    with open_tensors(path) as file:
        save_file(broken, tmp_path / "broken.safetensors", {CONFIG_KEY: file.metadata[CONFIG_KEY]})
    with pytest.raises(Refused, match=r"layers\.1\.mlp\.fc2\.weight"):
        Encoder(read_encoder(tmp_path / "broken.safetensors"), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "7",
        "{}",
        '{"num_attention_heads": 5, "hidden_act": "gelu"}',
        '{"num_attention_heads": 2, "hidden_act": "x"}',
    ],
)
def test_odd_metadata_is_refused(path: Path, tmp_path: Path, config: str) -> None:
    save_file(load_file(path), tmp_path / "odd.safetensors", {CONFIG_KEY: config})
    with pytest.raises(Refused) as refusal:
        read_encoder(tmp_path / "odd.safetensors")
    assert refusal.value.cause == "encoder_form"


def test_odd_shapes_are_refused(path: Path, tmp_path: Path) -> None:
    for name in ("visual_projection.weight", "vision_model.embeddings.patch_embedding.weight"):
        save_file({**load_file(path), name: torch.zeros(3)}, tmp_path / "odd.safetensors")
        with pytest.raises(Refused, match=name):
            read_encoder(tmp_path / "odd.safetensors")


def test_a_loaded_encoder_does_not_need_its_file(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    encoder = Encoder(read_encoder(copy), torch.device("cpu"), torch.float32)
    before = encoder.encode_unconditional("plus")
    copy.write_bytes(b"")
    assert torch.equal(encoder.encode_unconditional("plus"), before)


@pytest.mark.parametrize("size", ["one", "(1,)", "per row", "(rows, 1)"])
@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
def test_scales_of_eight_bit_weights_are_applied(path: Path, tmp_path: Path, name: str, size: str) -> None:
    """ComfyUI's fp8_scaled: read as plain weights, the embedding was off by 500 times its size."""
    state = load_file(path)
    with open_tensors(path) as file:
        metadata = {CONFIG_KEY: file.metadata[CONFIG_KEY]}
    scaled, plain = dict(state), dict(state)
    for key, weight in state.items():
        if weight.ndim == 2 and "embedding" not in key:
            rows = weight.abs().amax(1, keepdim=True) if "row" in size else weight.abs().max().reshape(1, 1)
            scale = rows / 448
            scaled[key] = (weight / scale).to(torch.float8_e4m3fn)
            plain[key] = scaled[key].float() * scale
            shape = {"one": (), "(1,)": (1,), "per row": (-1,), "(rows, 1)": (-1, 1)}[size]
            scaled[key.replace(".weight", f".{name}")] = scale.reshape(shape)
            scaled[key.replace(".weight", ".scale_input")] = torch.ones(())
    scaled["scaled_fp8"] = torch.zeros(2).to(torch.float8_e4m3fn)
    save_file(scaled, tmp_path / "scaled.safetensors", metadata)
    save_file(plain, tmp_path / "plain.safetensors", metadata)
    described = read_encoder(tmp_path / "scaled.safetensors")
    assert described.eight_bit
    results = []
    for checkpoint in (described, read_encoder(tmp_path / "plain.safetensors"), read_encoder(path)):
        results.append(Encoder(checkpoint, torch.device("cpu"), torch.float32).encode_unconditional("plus"))
    assert torch.equal(results[0], results[1])
    assert (results[0] - results[2]).abs().max() < 0.1 * results[2].abs().max()


def test_scales_in_blocks_are_refused(path: Path, tmp_path: Path) -> None:
    state = load_file(path)
    with open_tensors(path) as file:
        metadata = {CONFIG_KEY: file.metadata[CONFIG_KEY]}
    state["vision_model.encoder.layers.0.mlp.fc1.weight_scale"] = torch.ones(32, 2)
    save_file(state, tmp_path / "blocks.safetensors", metadata)
    with pytest.raises(Refused, match="separate scales"):
        read_encoder(tmp_path / "blocks.safetensors")
