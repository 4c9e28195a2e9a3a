"""Damaged files and other files in place of a model: each gives one clear sentence, and no header does harm."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, identify
from lib_anyms.ip_adapter.encoder import EncoderCheckpoint, identify_encoder
from lib_anyms.models.file_index import what_is
from lib_anyms.models.model_files import choose_pair
from lib_anyms.tensor_files import tensor_file, torch_pickle
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.encoder_files import open_clip
from tests.support.memory import at_most
from tests.support.tiny_unet import tiny_unet
from tests.support.torch_files import safetensors_bytes, tensor_opcodes, text, write_zip


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A limit for all examples of a test together."""
    with at_most(96):
        yield


FUZZ = settings(max_examples=150)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An adapter and an encoder in each format."""
    folder = tmp_path_factory.mktemp("sound")
    write_adapter(folder / "adapter.safetensors", tiny_unet())
    write_encoder(folder / "encoder.safetensors")
    torch.save(load_file(folder / "adapter.safetensors"), folder / "adapter.bin")
    torch.save(open_clip(load_file(folder / "encoder.safetensors")), folder / "encoder.pth")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def legacy(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def compressed(path: Path) -> None:
    write_zip(
        path, b"\x80\x02}(X\x01\x00\x00\x00t" + tensor_opcodes(0, (6,), (1,)) + b"u.", method=zipfile.ZIP_DEFLATED
    )


def header(value: object, data: bytes = b"", length: int | None = None) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(safetensors_bytes(value, data, length))


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty": ("file_kind", lambda path: path.write_bytes(b""), "an empty file"),
    "a web page": ("file_kind", lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "a web page"),
    "a pointer": (
        "file_kind",
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        "a Git LFS pointer",
    ),
    "GGUF": ("file_kind", lambda path: path.write_bytes(b"GGUF\3\0\0\0" + bytes(99)), "a GGUF file"),
    "zeros": ("file_kind", lambda path: path.write_bytes(bytes(10**5)), "something that begins with"),
    "words": ("file_kind", lambda path: path.write_bytes(b"Entry not found"), "something that begins with"),
    "before torch 1.6": ("file_legacy", legacy, "from before torch 1.6"),
    "code": (
        "file_code",
        lambda path: write_zip(path, b"\x80\x02cos\nsystem\n."),
        "Reading the rest would run its code",
    ),
    "compressed": ("file_form", compressed, "a compressed or encrypted zip"),
    "a header past the end": ("file_damaged", header({"a": TENSOR}, bytes(8), 10**6), "a header of 1000000 bytes"),
    "an endless header": ("file_damaged", header({"a": TENSOR}, bytes(8), 2**63), "a header of"),
    "a header that is no JSON": (
        "file_damaged",
        lambda p: p.write_bytes((9).to_bytes(8, "little") + b"{nothing}"),
        "is damaged",
    ),
    "data cut": ("file_damaged", header({"a": TENSOR}, bytes(5)), "is damaged"),
    "offsets that lie": ("file_damaged", header({"a": {**TENSOR, "data_offsets": [0, 80]}}, bytes(8)), "is damaged"),
    "a shape that lies": ("file_damaged", header({"a": {**TENSOR, "shape": [2**40]}}, bytes(8)), "is damaged"),
    "a name without end": ("file_damaged", header({"a" * 400: TENSOR}, bytes(8)), "a tensor is named"),
    "no tensor": ("adapter_none", header({}), "no tensor at all"),
}


@pytest.mark.parametrize(("cause", "write", "words"), DAMAGE.values(), ids=DAMAGE)
def test_each_damage_gives_its_own_sentence(
    tmp_path: Path, cause: str, write: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "ip-adapter.safetensors"
    write(path)
    verdict = what_is(path)
    assert isinstance(verdict, Refused)
    assert verdict.cause == cause
    assert words in str(verdict)
    assert len(str(verdict)) < 400
    assert "\n" not in str(verdict)
    unet = tiny_unet()
    with pytest.raises(Refused) as auto:
        choose_pair([tmp_path], unet, cross_attention_layers(unet))
    with pytest.raises(Refused) as named:
        choose_pair([tmp_path], unet, cross_attention_layers(unet), "ip-adapter.safetensors")
    assert named.value.cause == cause
    assert auto.value.cause == "adapter_absent"
    assert (words in str(auto.value)) == (cause != "adapter_none")  # a damaged file is reported, not skipped silently


@pytest.mark.parametrize("name", ["adapter.safetensors", "encoder.safetensors", "adapter.bin", "encoder.pth"])
def test_an_incomplete_download_is_damaged_wherever_it_ends(sound: dict[str, bytes], tmp_path: Path, name: str) -> None:
    whole, path = sound[name], tmp_path / name
    for length in sorted({*range(1, 40), *range(40, len(whole), max(1, len(whole) // 60)), len(whole) - 1}):
        path.write_bytes(whole[:length])
        verdict = what_is(path)
        assert isinstance(verdict, Refused), length
        assert verdict.cause in ("file_damaged", "file_kind"), length


@pytest.mark.usefixtures("little_memory")
@FUZZ
@given(data=st.data())
def test_any_changed_bytes_give_a_verdict(sound: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(sound[data.draw(st.sampled_from(sorted(sound)))])
    last = (
        min(len(content) - 1, 6000) if data.draw(st.booleans()) else len(content) - 1
    )  # a header is at the start or at the end
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, last), st.integers(0, 255)), max_size=8)):
        content[at] = value
    check(tmp_path / "a", bytes(content))


@pytest.mark.usefixtures("little_memory")
@FUZZ
@given(data=st.binary(max_size=400))
def test_any_bytes_give_a_verdict(tmp_path: Path, data: bytes) -> None:
    check(tmp_path / "a", data)
    check(tmp_path / "a", b"PK\x03\x04" + data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.lists(st.integers(-2, 2**64), max_size=5)
ENTRIES = (
    st.fixed_dictionaries(
        {"dtype": st.sampled_from(["F16", "F32", "F8_E4M3", "X"]), "shape": NUMBERS, "data_offsets": NUMBERS}
    )
    | JSON
)


@pytest.mark.usefixtures("little_memory")
@FUZZ
@given(
    header=st.dictionaries(st.text(max_size=30) | st.just("__metadata__"), ENTRIES, max_size=5),
    data=st.binary(max_size=64),
)
def test_any_header_gives_a_verdict(tmp_path: Path, header: dict[str, object], data: bytes) -> None:
    check(tmp_path / "a", safetensors_bytes(header, data))


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    verdict = what_is(path)
    assert isinstance(verdict, (AdapterCheckpoint, EncoderCheckpoint, Refused))
    assert len(str(verdict)) < 600 or not isinstance(verdict, Refused)


PARTS = st.sampled_from(
    (
        "image_proj.latents",
        "image_proj.proj.weight",
        "image_proj.layers.0.0.to_q.weight",
        "ip_adapter.1.to_k_ip.weight",
        "visual.conv1.weight",
        "visual.positional_embedding",
        "visual.proj",
        "visual.transformer.resblocks.0.mlp.c_fc.weight",
        "visual.transformer.resblocks.999.attn.in_proj_weight",
        "visual_projection.weight",
        "conv1.weight",
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.encoder.layers.0.mlp.fc1.weight",
        "vision_model.encoder.layers.999.mlp.fc1.weight",
        "vision_model.encoder.layers.٣.x",
        "vision_model.encoder.layers.",
    )
)


@pytest.mark.usefixtures("little_memory")
@FUZZ
@given(
    shapes=st.dictionaries(
        PARTS | st.text(max_size=20), st.lists(st.integers(0, 2**62), max_size=5).map(tuple), max_size=16
    )
)
def test_any_names_and_shapes_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(Refused) as refusal:
        identify(Path("a"), shapes)
    assert len(str(refusal.value)) < 600
    with pytest.raises(Refused) as refusal:
        identify_encoder(Path("a"), shapes, {})
    assert len(str(refusal.value)) < 600


def test_a_header_at_the_limit_takes_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB of header with empty tensors are parsed; one byte more is refused unread."""
    tensor = json.dumps({"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})
    tensors = ",".join(f'"t{number:06d}":{tensor}' for number in range(16 * 2**20 // (len(tensor) + 12)))
    header = f"{{{tensors}}}".encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with at_most(384):
        assert "more tensors than any model has" in str(what_is(path))
    path.write_bytes((2**24 + 1).to_bytes(8, "little") + header + bytes(2**20))
    monkeypatch.setattr(tensor_file, "safe_open", lambda *_, **__: pytest.fail("the header was read"))
    assert what_is(path).cause == "file_damaged"


def multiplied(inner: bytes, number: int, times: int) -> bytes:
    """A dict with `times` long names for one value, `inner`, which the memo stores under `number`."""
    put, get = b"q" + bytes([number]), b"h" + bytes([number])
    entries = []
    for key in range(times):
        value = get if key else inner + put
        entries.append(text(f"{key:04d}{'x' * 110}") + value)
    return b"}(" + b"".join(entries) + b"u"


FLOODS: dict[str, bytes] = {
    "a million names of one tensor": multiplied(multiplied(tensor_opcodes(0, (1,), (1,)), 0, 1000), 1, 1000),
    "a million names of one number": multiplied(multiplied(b"K\x01", 0, 1000), 1, 1000),
    "a million steps": b"}" + b"q\x00" * 10**6,
    "a million values": b"N" * 10**6 + b"}",
    "lists": b"]" * 10**5 + b"}",
    "a text of 16 MiB": b"}(" + text("a") + text("\U0001f600" * (4 * 2**20 - 50)) + b"u",
}


@pytest.mark.parametrize("opcodes", FLOODS.values(), ids=FLOODS)
def test_a_small_file_that_unfolds_takes_bounded_memory_and_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opcodes: bytes
) -> None:
    codes = CountingCodes(torch_pickle._CODES)
    monkeypatch.setattr(torch_pickle, "_CODES", codes)
    path = write_zip(tmp_path / "a", b"\x80\x02" + opcodes + b".")
    with at_most(96):
        assert isinstance(what_is(path), Refused)
    assert 1 < codes.steps <= torch_pickle.STEP_LIMIT


class CountingCodes(dict[bytes, object]):
    """The opcode table; counts the opcodes that the machine reads."""

    steps = 0

    def get(self, code: bytes, default: object = None) -> object:
        self.steps += 1
        return super().get(code, default)
