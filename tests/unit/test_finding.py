"""Model files are recognised by their content, in every folder where users keep them; each header is read once."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.ip_adapter import encoder as encoder_module
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.encoder import Encoder, EncoderCheckpoint, identify_encoder, read_encoder
from lib_anyms.ip_adapter.encoder_names import PER_LAYER, TOWER, stored_weights
from lib_anyms.models import file_index, model_files
from lib_anyms.models.file_index import FileIndex, index, what_is
from lib_anyms.models.model_files import adapters_in, choose_adapter, choose_pair, encoders_in, find_missing
from tests.support.adapter_files import HIDDEN, PROJECTION, VISION, write_adapter, write_encoder
from tests.support.encoder_files import NAMINGS, SUFFIXES, write_named
from tests.support.fake_webui import fake_webui
from tests.support.tiny_unet import tiny_unet
from tests.support.torch_files import safetensors_bytes


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.safetensors")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers are read."""
    names: list[str] = []
    whole = file_index.open_tensors
    monkeypatch.setattr(file_index, "open_tensors", lambda path: names.append(path.name) or whole(path))
    return names


def choose(folder: Path, adapter: str = "auto", encoder: str = "auto"):
    unet = tiny_unet()
    return choose_pair([folder], unet, cross_attention_layers(unet), adapter, encoder)


# -- encoders in every naming ------------------------------------------------------------------------------------------


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in torch's format have no metadata with heads and activation: add the small encoder to the known ones."""
    monkeypatch.setitem(encoder_module._KNOWN, HIDDEN, (VISION["num_attention_heads"], VISION["hidden_act"]))


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("naming", NAMINGS)
def test_an_encoder_reads_the_same_in_every_naming_and_format(
    encoder: Path, tmp_path: Path, naming: str, suffix: str
) -> None:
    named = what_is(write_named(encoder, tmp_path / f"clip{suffix}", naming))
    assert isinstance(named, EncoderCheckpoint), named
    plain = read_encoder(encoder)
    assert (named.hidden_width, named.projection_width, named.image_size) == (HIDDEN, PROJECTION, VISION["image_size"])
    assert (named.config, named.parameters, named.activations) == (plain.config, plain.parameters, plain.activations)
    expected, got = (Encoder(checkpoint, torch.device("cpu"), torch.float32) for checkpoint in (plain, named))
    assert torch.equal(expected.encode_unconditional("plus"), got.encode_unconditional("plus"))
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    assert torch.equal(expected._run(pixels, "base"), got._run(pixels, "base"))


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize("naming", ["Hugging Face", "open_clip"])
def test_every_weight_of_an_encoder_is_needed_and_of_its_shape(encoder: Path, tmp_path: Path, naming: str) -> None:
    shapes = {
        name: tuple(t.shape) for name, t in load_file(write_named(encoder, tmp_path / "a.safetensors", naming)).items()
    }
    assert identify_encoder(tmp_path / "a", shapes, {}).hidden_width == HIDDEN
    for key, shape in shapes.items():
        others = [{name: shapes[name] for name in shapes if name != key}]
        if key != "visual.proj":  # nothing else has the projected width
            others.append({**shapes, key: (*shape[:-1], shape[-1] + 1)})
        for other in others:
            with pytest.raises(Refused) as refusal:
                identify_encoder(tmp_path / "a", other, {})
            assert refusal.value.cause == "encoder_form", key


def test_one_file_of_an_encoder_in_several_is_called_so(encoder: Path, tmp_path: Path) -> None:
    state = load_file(encoder)
    for number in (1, 2):
        names = list(state)[:9] if number == 1 else list(state)[9:]
        save_file({name: state[name] for name in names}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    for number in (1, 2):
        with pytest.raises(Refused, match=f"part {number} of a model in 2 files") as refusal:
            choose_encoder(tmp_path, f"model-0000{number}-of-00002")
        assert refusal.value.cause == "file_part"


def choose_encoder(folder: Path, name: str) -> EncoderCheckpoint | None:
    write_adapter(folder / "adapter.safetensors", tiny_unet())
    return choose(folder, encoder=name).encoder


def test_the_table_of_names_is_the_model_s_own(encoder: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with torch.device("meta"):
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
    layers = VISION["num_hidden_layers"]
    assert (
        stored_weights({name: tuple(p.shape) for name, p in model.named_parameters()}).keys()
        == dict(model.named_parameters()).keys()
    )
    assert len(dict(model.named_parameters())) == len(TOWER) + layers * len(PER_LAYER)


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("SigLIP", ["vision_model.embeddings.patch_embedding.weight", "vision_model.head.attention.in_proj_weight"]),
        ("EVA-CLIP", ["visual.blocks.0.attn.q_bias", "visual.patch_embed.proj.weight"]),
        ("DINOv2", ["embeddings.mask_token", "encoder.layer.0.norm1.weight"]),
        ("an IP-Adapter", ["image_proj.latents"]),
        ("no vision_model.embeddings", ["text_model.embeddings.token_embedding.weight"]),
    ],
)
def test_other_encoders_are_called_by_name(what: str, keys: list[str]) -> None:
    with pytest.raises(Refused, match=what) as refusal:
        identify_encoder(Path("a.safetensors"), dict.fromkeys(keys, (8, 8)), {})
    assert refusal.value.cause == "encoder_form"


# -- which pair --------------------------------------------------------------------------------------------------------


def test_auto_takes_the_adapter_whose_encoder_is_there(encoder: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "a-needs-another.safetensors", tiny_unet(), encoder_width=PROJECTION + 1)
    write_adapter(tmp_path / "b.safetensors", tiny_unet())
    write_named(encoder, tmp_path / "z.safetensors", "open_clip")
    pair = choose(tmp_path)
    assert (pair.adapter.path.name, pair.encoder.path.name) == ("b.safetensors", "z.safetensors")
    unet = tiny_unet()
    assert choose_adapter([tmp_path], unet, cross_attention_layers(unet)).path.name == "a-needs-another.safetensors"
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, "a-needs-another")
    assert refusal.value.cause == "encoder_absent"
    assert "z.safetensors" in str(refusal.value)
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, "a-needs-another", "z")
    assert refusal.value.cause == "encoder_mismatch"


def test_what_suits_goes_first(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_adapter(tmp_path / f"{name}.safetensors", tiny_unet())
    write_encoder(tmp_path / "e.safetensors")
    unet = tiny_unet()
    layers = cross_attention_layers(unet)
    for stem in ("a", "b", "none"):
        pair = choose_pair([tmp_path], unet, layers, suits=lambda adapter, stem=stem: adapter.path.stem == stem)
        assert pair.adapter.path.stem == ("b" if stem == "b" else "a")


@pytest.mark.parametrize("what", ["adapter", "encoder"])
def test_a_name_from_outside_opens_nothing_beyond_the_folders(tmp_path: Path, opened: list[str], what: str) -> None:
    folder, outside = tmp_path / "models", tmp_path / "outside.safetensors"
    folder.mkdir()
    write_adapter(folder / "a.safetensors", tiny_unet())
    write_encoder(folder / "e.safetensors")
    {"adapter": lambda: write_adapter(outside, tiny_unet()), "encoder": lambda: write_encoder(outside)}[what]()
    for name in (
        "../outside",
        "../outside.safetensors",
        "..\\outside.safetensors",
        str(outside),
        outside.as_uri(),
        "http://a/b",
    ):
        with pytest.raises(Refused) as refusal:
            choose(folder, **{what: name})
        assert refusal.value.cause == "file_unknown", name
    assert set(opened) == {"a.safetensors", "e.safetensors"}


def test_when_nothing_is_there_one_sentence_says_which_file_how_large_and_where(tmp_path: Path) -> None:
    folders = [tmp_path / "models" / name for name in ("ControlNet", "ipadapter", "clip_vision")]
    unet = tiny_unet()
    with pytest.raises(Refused) as refusal:
        choose_pair(folders, unet, cross_attention_layers(unet))
    for fact in ("ip-adapter-plus_sdxl_vit-h.safetensors (0.8 GB)", str(folders[1]), '"model files"'):
        assert fact in str(refusal.value)
    refused, file = find_missing(folders)
    assert (str(refused), file.name) == (str(refusal.value), "ip-adapter-plus_sdxl_vit-h.safetensors")


@pytest.mark.parametrize(
    ("width", "name", "size"), [(1024, "CLIP-ViT-H-14", "2.5 GB"), (1280, "CLIP-ViT-bigG-14", "3.7 GB")]
)
def test_the_missing_encoder_is_named_with_its_size_and_place(tmp_path: Path, width: int, name: str, size: str) -> None:
    folders = [tmp_path / "models" / folder for folder in ("ipadapter", "clip_vision")]
    folders[0].mkdir(parents=True)
    write_adapter(folders[0] / "a.safetensors", tiny_unet(), encoder_width=width)
    refused, file = find_missing(folders)
    assert file.name.startswith(name)
    for fact in (name, size, str(folders[1]), "a.safetensors", f"{width} outputs"):
        assert fact in str(refused)


def test_nothing_is_missing_with_one_pair(encoder: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "a.safetensors", tiny_unet(), encoder_width=PROJECTION + 1)
    write_adapter(tmp_path / "b.safetensors", tiny_unet())
    write_named(encoder, tmp_path / "c.safetensors", "Hugging Face")
    assert find_missing([tmp_path]) is None


def test_a_look_alike_in_its_place_is_named_with_what_it_is(tmp_path: Path) -> None:
    save_file({"ip_adapter.0.to_q_lora.down.weight": torch.zeros(2, 2)}, tmp_path / "ip-adapter-faceid.safetensors")
    save_file({"lora_unet_a.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "a-lora.safetensors")
    with pytest.raises(Refused, match=r"found instead: ip-adapter-faceid\.safetensors is a FaceID adapter") as refusal:
        choose(tmp_path)
    assert "a-lora" not in str(refusal.value)


def test_an_adapter_of_another_family_is_named_with_its_family(tmp_path: Path) -> None:
    keys = {f"ip_adapter.{n}.to_{p}_ip.weight": torch.zeros(320, 768) for n in range(1, 33, 2) for p in "kv"}
    shapes = {"proj.weight": (4 * 768, 1024), "proj.bias": (4 * 768,), "norm.weight": (768,), "norm.bias": (768,)}
    save_file(
        {**keys, **{f"image_proj.{name}": torch.zeros(shape) for name, shape in shapes.items()}},
        tmp_path / "sd15.safetensors",
    )
    with pytest.raises(SteppedAside, match=r"sd15\.safetensors is for Stable Diffusion 1"):
        choose(tmp_path)


# -- where -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A WebUI with folders below tmp_path; `adapters` lists the adapters there."""
    with fake_webui(tmp_path / "models") as loaded:
        loaded("modules.paths").data_path = str(tmp_path)
        webui = loaded("lib_anyms.hosts.webui")
        shared = loaded("modules.shared")

        def adapters() -> list[str]:
            return [adapter.path.name for adapter in adapters_in(webui.model_folders())]

        yield SimpleNamespace(adapters=adapters, shared=shared, folder=tmp_path, webui=webui)
        for name in ("controlnet_dir", "controlnet_dirs", "forge_ref_comfy_home"):
            vars(shared.cmd_opts).pop(name, None)


def put(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_adapter(folder / "mine.safetensors", tiny_unet())


@pytest.mark.parametrize(
    "place",
    [
        "models/ControlNet",
        "models/ControlNet/sdxl/ip",
        "models/ipadapter",
        "models/clip_vision",
        "models/ControlNetPreprocessor",
        "models/image_encoder",
        "extensions/sd-webui-controlnet/models",
        "extensions/sd-webui-controlnet/annotator/downloads/clip_vision",
    ],
)
def test_the_places_where_users_keep_them(host: SimpleNamespace, place: str) -> None:
    assert host.adapters() == []
    put(host.folder / place)
    assert host.adapters() == ["mine.safetensors"]


@pytest.mark.parametrize("place", ["Comfy/models/ipadapter", "Comfy/models/controlnet/x", "Comfy/models/clip_vision"])
@pytest.mark.parametrize("named", ["Comfy", "Comfy/models", "", "  Comfy  \n\n nowhere"])
def test_a_setting_names_a_folder_a_whole_comfyui_or_its_models(host: SimpleNamespace, place: str, named: str) -> None:
    put(host.folder / "else" / place)
    base = host.folder / "else"
    lines = [str(base / line.strip()) for line in named.splitlines()] if named.strip() else [str((base / place).parent)]
    host.shared.opts.anyms_folders = "\n".join(f"  {line}  " for line in lines)
    assert host.adapters() == ["mine.safetensors"]
    host.shared.opts.anyms_folders = ""
    assert host.adapters() == []


def test_a_whole_comfyui_is_not_searched_for_checkpoints(host: SimpleNamespace, opened: list[str]) -> None:
    put(host.folder / "Comfy" / "models" / "ipadapter")
    (host.folder / "Comfy" / "models" / "checkpoints").mkdir()
    (host.folder / "Comfy" / "models" / "checkpoints" / "sdxl.safetensors").write_bytes(b"x")
    host.shared.cmd_opts.forge_ref_comfy_home = host.folder / "Comfy"
    assert host.adapters() == opened == ["mine.safetensors"]


@pytest.mark.parametrize("flag", ["controlnet_dir", "controlnet_dirs"])
def test_flags_name_folders_too(host: SimpleNamespace, flag: str) -> None:
    put(host.folder / "elsewhere")
    place = str(host.folder / "elsewhere")
    setattr(host.shared.cmd_opts, flag, [place] if flag.endswith("s") else place)
    assert host.adapters() == ["mine.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="host: links need rights on Windows")
def test_links_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    put(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "models" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "models" / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    assert len(adapters_in([tmp_path / "models", tmp_path / "models"])) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="host: no pipes in its folders")
def test_a_pipe_among_the_models_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path)
    os.mkfifo(tmp_path / "a.safetensors")
    assert len(adapters_in([tmp_path])) == 1
    for look in (what_is, lambda path: choose(path.parent, path.name)):
        with suppress(Refused):
            look(tmp_path / "a.safetensors")
    assert what_is(tmp_path / "a.safetensors").cause == "file_kind"


def test_a_setting_that_names_a_disk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "MOST_FOLDERS", 5)
    for number in range(9):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "a.safetensors").write_bytes(b"")
    assert len(model_files._files([tmp_path])) == 4


# -- how much is read --------------------------------------------------------------------------------------------------


def read_so_far() -> int:
    """Bytes this process has read."""
    return int(Path("/proc/self/io").read_text(encoding="utf-8").split()[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="host: only Linux counts what a process reads")
def test_three_thousand_files_are_sorted_without_loading_one(tmp_path: Path, encoder: Path, opened: list[str]) -> None:
    """Each file has 256 MiB of tensors in a sparse file, 750 GiB in all; only the headers are read."""
    size = 256 * 2**20
    header = safetensors_bytes(
        {"lora_unet_x.lora_down.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    )
    for number in range(3000):
        path = tmp_path / f"{number // 100}" / f"{number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(header)
        os.truncate(path, len(header) + size)
    put(tmp_path / "mine")
    write_named(encoder, tmp_path / "mine" / "clip.safetensors", "Hugging Face")
    store = tmp_path / "cache" / "files.json"
    index.keep_in(store)
    peak, before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, read_so_far()
    assert len(adapters_in([tmp_path])) == len(encoders_in([tmp_path])) == 1
    assert read_so_far() - before < 2**20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < 64 * 2**20
    assert len(opened) == 3002
    assert len(adapters_in([tmp_path])) == 1
    assert len(opened) == 3002
    index.clear()  # as after a restart
    index.keep_in(store)
    assert len(adapters_in([tmp_path])) == len(encoders_in([tmp_path])) == 1
    assert sorted(opened[3002:]) == ["clip.safetensors", "mine.safetensors"]


def test_a_file_that_changes_is_read_again(tmp_path: Path, opened: list[str]) -> None:
    index.keep_in(tmp_path / "files.json")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"<html>")
    assert adapters_in([tmp_path]) == []
    assert adapters_in([tmp_path]) == []
    assert opened == ["a.safetensors"]
    write_adapter(path, tiny_unet())
    assert len(adapters_in([tmp_path])) == 1
    path.unlink()
    assert adapters_in([tmp_path]) == []


def test_the_index_of_other_sources_or_a_damaged_one_is_ignored(tmp_path: Path, opened: list[str]) -> None:
    folder, store = tmp_path / "models", tmp_path / "files.json"
    put(folder)
    facts = (folder / "mine.safetensors").stat()
    row = [facts.st_size, facts.st_mtime_ns, "adapter_none", {"path": "mine.safetensors", "got": "x"}]

    def adapters_with(content: str) -> int:
        store.write_text(content, encoding="utf-8")
        index.clear()
        index.keep_in(store)
        return len(adapters_in([folder]))

    path = str(folder / "mine.safetensors")
    version = file_index._version()
    assert adapters_with(json.dumps({"version": version, "files": {path: row}})) == 0  # an intact one is used
    damaged = [
        *(
            "",
            "{",
            "[]",
            "7",
            "null",
            '{"version": 1}',
            "[" * 100_000,
            '{"version": ' + json.dumps(version) + ', "files": []}',
        ),
        json.dumps({"version": "0" * 64, "files": {path: row}}),
        *(
            json.dumps({"version": version, "files": {path: bad}})
            for bad in (None, [], [1], row[:3], [*row[:2], "no_cause", {}])
        ),
        *(
            json.dumps({"version": version, "files": {path: [*row[:2], "adapter_none", bad]}})
            for bad in (None, {}, 7, {"cause": 1})
        ),
    ]
    for content in damaged:
        assert adapters_with(content) == 1, content[:80]


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = tmp_path / "models", tmp_path / "cache" / "files.json"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"x")
    index.keep_in(store)
    adapters_in([folder])
    before = store.read_bytes()
    assert str(folder / "a.bin") in json.loads(before)["files"]
    (folder / "b.bin").write_bytes(b"x")

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_index.os, "replace", fail)
    assert adapters_in([folder]) == []
    assert store.read_bytes() == before
    assert [path.name for path in store.parent.iterdir()] == ["files.json"]


def test_a_file_that_may_not_be_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)
    mine = FileIndex()
    denied = Refused("file_unreadable", path="mine.safetensors", got="Permission denied")
    monkeypatch.setattr(file_index, "what_is", lambda _path: denied)
    assert mine.look([tmp_path / "mine.safetensors"]) == [(tmp_path / "mine.safetensors", denied)]
    monkeypatch.undo()
    assert isinstance(mine.look([tmp_path / "mine.safetensors"])[0][1], AdapterCheckpoint)
