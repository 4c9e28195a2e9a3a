"""Image tokens, keys and values: several pictures per subject, one unconditional set, the host's dtype."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import image_tokens
from tests.support.adapter_files import HIDDEN, PROJECTION, TOKENS, write_adapter, write_encoder
from tests.support.tiny_unet import CONTEXT, tiny_unet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("models")
    adapter = read_adapter(write_adapter(folder / "adapter.safetensors", tiny_unet()))
    return adapter, Encoder(read_encoder(write_encoder(folder / "encoder.safetensors")), CPU, torch.float32)


def colour(name: str) -> Image.Image:
    return Image.new("RGB", (30, 40), name)


def test_shapes(parts) -> None:
    tokens = image_tokens(*parts, [[colour("red")], [colour("blue"), colour("green")]])
    assert [tuple(subject.shape) for subject in tokens.subjects] == [(TOKENS, CONTEXT)] * 2
    assert tokens.unconditional.shape == (TOKENS, CONTEXT)


def test_several_pictures_are_averaged_in_any_order_or_concatenated_in_theirs(parts) -> None:
    red, blue = ([colour(name)] for name in ("red", "blue"))
    single = image_tokens(*parts, [red, blue]).subjects
    both = image_tokens(*parts, [red + blue, blue + red])
    assert torch.allclose(both.subjects[0], (single[0] + single[1]) / 2, atol=1e-6)
    assert torch.allclose(both.subjects[0], both.subjects[1], atol=1e-6)
    joined = image_tokens(*parts, [red + blue], combine="concatenate").subjects[0]
    assert torch.allclose(joined, torch.cat(single), atol=1e-6)


def test_every_picture_and_the_fit_count(parts) -> None:
    def tokens(*names: str, fit: str = "pad") -> torch.Tensor:
        return image_tokens(*parts, [[colour(name) for name in names]], fit).subjects[0]

    assert (tokens("red", "blue") - tokens("red", "green")).abs().max() > 1e-3
    assert (tokens("red") - tokens("red", fit="crop")).abs().max() > 1e-3  # pad shows white bars


def test_all_subjects_share_one_unconditional_set(parts) -> None:
    adapter = parts[0]
    first = project_key_values(adapter, image_tokens(*parts, [[colour("red")], [colour("blue")]]), CPU, torch.float32)
    other = project_key_values(adapter, image_tokens(*parts, [[colour("green")]]), CPU, torch.float32)
    like = torch.zeros(1)
    for layer in adapter.layers:
        cond, uncond = first.of(layer.number, True, like), first.of(layer.number, False, like)
        assert len(cond) == len(uncond) == 2
        assert uncond[0][0] is uncond[1][0]
        assert torch.allclose(uncond[0][0], other.of(layer.number, False, like)[0][0], atol=1e-6)
        assert (cond[0][1] - cond[1][1]).abs().max() > 1e-3
        assert (cond[0][0] - uncond[0][0]).abs().max() > 1e-3


def test_keys_and_values_are_the_adapter_s_projections(parts) -> None:
    from safetensors.torch import load_file

    adapter = parts[0]
    tokens = image_tokens(*parts, [[colour("red")], [colour("blue")]])
    sets, weights = project_key_values(adapter, tokens, CPU, torch.float64), load_file(adapter.path)
    for number in (1, 7, 33):
        for subject in range(2):
            key, value = sets.of(number, True, torch.zeros(1, dtype=torch.float64))[subject]
            wide = tokens.subjects[subject].double()
            assert torch.allclose(key, wide @ weights[f"ip_adapter.{number}.to_k_ip.weight"].double().T, atol=1e-12)
            assert torch.allclose(value, wide @ weights[f"ip_adapter.{number}.to_v_ip.weight"].double().T, atol=1e-12)


def test_cond_only_keeps_no_unconditional_set(parts) -> None:
    sets = project_key_values(
        parts[0], image_tokens(*parts, [[colour("red")]]), CPU, torch.float32, unconditional=False
    )
    assert sets.of(1, False, torch.zeros(1)) is None
    assert sets.of(1, True, torch.zeros(1)) is not None


def test_all_sets_follow_the_dtype_of_the_query(parts) -> None:
    tokens = image_tokens(*parts, [[colour("red")]])
    sets = project_key_values(parts[0], tokens, CPU, torch.float32)
    size = sets.bytes
    assert size == 2 * 2 * TOKENS * 4 * sum(layer.width for layer in parts[0].layers)
    key, _ = sets.of(5, True, torch.zeros(1, dtype=torch.bfloat16))[0]
    assert key.dtype == torch.bfloat16
    assert sets.bytes == size / 2


def test_an_encoder_of_another_width_is_refused(parts, tmp_path: Path) -> None:
    other = read_adapter(write_adapter(tmp_path / "other.safetensors", tiny_unet(), encoder_width=HIDDEN + PROJECTION))
    with pytest.raises(Refused) as refusal:
        image_tokens(other, parts[1], [[colour("red")]])
    assert refusal.value.cause == "encoder_mismatch"
    assert f"got width {PROJECTION}, expected {HIDDEN + PROJECTION}" in str(refusal.value)


def test_a_file_that_is_no_encoder_is_refused(parts) -> None:
    with pytest.raises(Refused) as refusal:
        read_encoder(parts[0].path)
    assert refusal.value.cause == "encoder_form"
