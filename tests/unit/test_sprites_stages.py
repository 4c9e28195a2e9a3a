"""Every stage for a step, then the files: hosts' loader takes them, and the engine makes a picture with them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from lib_anyms.geometry import Box
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.ip_adapter.key_values import project_key_values
from lib_anyms.ip_adapter.tokens import ImageTokens, image_tokens
from lib_anyms.layout import Layout, Subject
from lib_anyms.request import Request
from lib_anyms.standalone.generate import Models, sample
from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.sprites import adapter as adapters
from lib_anyms.standalone.sprites import base
from lib_anyms.standalone.sprites import export as exporting
from lib_anyms.standalone.sprites.adapter import Adapter, AdapterLearner
from lib_anyms.standalone.sprites.data import LARGE, SEVERAL, Referenced
from lib_anyms.standalone.sprites.diffusion import predictor
from lib_anyms.standalone.sprites.diffusion import sample as denoise
from lib_anyms.standalone.sprites.identity import ATTRIBUTES, Identity
from lib_anyms.standalone.sprites.latents import pool_latents
from lib_anyms.standalone.sprites.oracle import Oracle
from lib_anyms.standalone.sprites.reopen import read_state
from lib_anyms.standalone.sprites.rounds import all_rounds, earlier, go_on
from lib_anyms.standalone.sprites.scene import draw_scene, reference_scene
from lib_anyms.standalone.sprites.stages import STAGES, Run, complete, settings, train_stage
from lib_anyms.standalone.sprites.text import text_pair
from lib_anyms.standalone.sprites.training import Learner, Where
from lib_anyms.standalone.sprites.vision import trained_encoder
from lib_anyms.standalone.sprites.world import draw, to_image
from lib_anyms.standalone.structure import SPRITES, attn2_layers
from tests.support.streams import Rows, injected, layout_of, stream_on

NARROW = replace(SPRITES, widths=(32, 32, 64), resampler_layers=1)
STEP = 1e-9  # minutes that one step takes
STAR = Identity("star", "red", "yellow", "dots")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All stages, a step each, and no looking at what they have learnt."""
    run = Run(Where(tmp_path_factory.mktemp("training")), minutes=0, workers=0, structure=NARROW)
    with pytest.MonkeyPatch.context() as patch:
        for learner in Learner.__subclasses__():
            patch.setattr(learner, "probe", lambda self, where: {})
        for stage in STAGES.values():
            batch = 4 if stage.name in ("text", "vision") else 2
            small = replace(stage, plan=replace(stage.plan, batch=batch))
            assert train_stage(small, run, minutes=STEP) == complete(stage, run.where)
            assert complete(stage, run.where).steps == 1
    return run


@pytest.fixture(scope="module")
def files(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    made = exporting.export(trained.where.out, folder, NARROW)
    assert [file.name for file in made] == [
        "checkpoint.safetensors",
        "encoder.safetensors",
        "adapter-base.safetensors",
        "adapter-plus.safetensors",
        "oracle.safetensors",
    ]
    return folder


def models(files: Path, kind: str) -> Models:
    return Models(files / "checkpoint.safetensors", files / f"adapter-{kind}.safetensors", files / "encoder.safetensors")


def test_the_checkpoint_is_what_the_structure_says(trained: Run, files: Path) -> None:
    described = read_checkpoint(files / "checkpoint.safetensors")
    assert described.structure == NARROW
    assert described.structure.prediction == "v_prediction"
    card = (files / "card.md").read_text(encoding="utf-8")
    assert all(f"| {name} | {complete(stage, trained.where).images} | 1 |" in card for name, stage in STAGES.items())


@torch.no_grad()
def test_the_vae_of_the_file_gives_the_latents_of_the_training(files: Path) -> None:
    vae = load_pipeline(files / "checkpoint.safetensors", "cpu", torch.float32).vae
    pictures = draw([draw_scene(SEVERAL, 1)], 64).pictures
    latents = vae.encode(pictures * 2 - 1).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(latents, pool_latents(pictures), atol=0.01)  # the file is in half precision


def test_the_pipeline_answers_as_the_training_did(trained: Run, files: Path) -> None:
    pipeline = load_pipeline(files / "checkpoint.safetensors", "cpu", torch.float32)
    torch.manual_seed(0)
    captions = ["a red star with yellow dots on grass", ""]
    context, pooled = text_pair(NARROW, trained.weights("text", "test"))(captions)
    told, _, told_pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)
    assert torch.allclose(told, context, atol=0.01)  # the file is in half precision
    assert torch.allclose(told_pooled, pooled, atol=0.01)
    latents, timesteps = torch.randn(2, 4, 16, 16), torch.tensor([500, 800])
    expected = exporting.trained_modules(trained).unet.eval()
    with torch.no_grad():
        answers = [predictor(unet, context, pooled, 16)(latents, timesteps) for unet in (pipeline.unet, expected)]
    assert torch.allclose(*answers, atol=0.01)
    assert answers[0].abs().max() > 0.01


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_the_engine_makes_a_picture_with_the_files(files: Path, kind: str) -> None:
    pipeline = load_pipeline(files / "checkpoint.safetensors", "cpu", torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    reference = to_image(draw([reference_scene(STAR, 1)], 96).pictures[0])
    request = Request(Layout((Subject("star", Box(0, 0, 0.5, 1)),)), ((reference,),), scale=1.0)
    pictures = []
    for asked in (request, replace(request, scale=0.0)):
        made = sample(pipeline, models(files, kind), asked, "a star on grass", "", 1, 2, (64, 64), 3.0)
        assert made.layers == 17
        pictures.append(made.picture)
    assert pictures[0].size == (64, 64)
    assert pictures[0].tobytes() != pictures[1].tobytes()


def engine_tokens(files: Path, kind: str, picture: torch.Tensor) -> ImageTokens:
    """From the files, as every host has them; `picture` (3, height, width)."""
    encoder = Encoder(read_encoder(files / "encoder.safetensors"), torch.device("cpu"), torch.float32)
    return image_tokens(read_adapter(files / f"adapter-{kind}.safetensors"), encoder, [[to_image(picture)]])


def training_adapter(files: Path, kind: str, unet: torch.nn.Module) -> Adapter:
    """The training's own, with the weights of the file."""
    adapter = Adapter(kind, NARROW, unet)
    adapter.load_state_dict(read_state(files / f"adapter-{kind}.safetensors"))
    return adapter


@pytest.mark.parametrize("kind", ["base", "plus"])
@torch.no_grad()
def test_the_training_s_image_stream_is_the_engine_s(trained: Run, files: Path, kind: str) -> None:
    """One subject over the whole picture, on a conditional row and one without picture: what is trained is what is used."""
    torch.manual_seed(0)
    unet = exporting.trained_modules(trained).unet.eval()
    adapter = training_adapter(files, kind, unet)
    picture = draw([reference_scene(STAR, 1)], 64).pictures[0]
    tokens = engine_tokens(files, kind, picture)
    call = predictor(unet, torch.randn(2, 77, NARROW.context_width), torch.randn(2, NARROW.text_2.projection), 16)
    inputs = torch.randn(2, 4, 16, 16), torch.tensor([600, 600])
    plain = call(*inputs)
    with adapter.stream(torch.stack((tokens.unconditional, tokens.subjects[0])), 0.8):
        ours = call(*inputs)
    sets = project_key_values(read_adapter(files / f"adapter-{kind}.safetensors"), tokens, torch.device("cpu"), torch.float32)
    layout = layout_of((0, 0, 1, 1))
    with injected(stream_on(unet, layout, Rows(False, True), scale=0.8, sets=sets)):
        theirs = call(*inputs)
    effect = (ours - plain).abs().amax((1, 2, 3))
    assert (effect > 1e-2).all(), effect
    assert (ours - theirs).abs().max() <= 1e-5
    assert torch.equal(call(*inputs), plain)  # nothing stays behind


@pytest.mark.parametrize("kind", ["base", "plus"])
@torch.no_grad()
def test_tokens_of_a_picture_and_of_none_are_the_engine_s(trained: Run, files: Path, kind: str) -> None:
    adapter = training_adapter(files, kind, exporting.trained_modules(trained).unet)
    encoder = trained_encoder(NARROW, trained.weights("vision", "test"))
    picture = draw([reference_scene(STAR, 1)], 64).pictures
    ours = adapter.tokens(encoder, torch.cat((picture, picture)), torch.tensor([1.0, 0.0]))
    theirs = engine_tokens(files, kind, picture[0])
    assert torch.allclose(ours[0], theirs.subjects[0], atol=0.01)  # the encoder's file is in half precision, the picture 8 bits
    assert torch.allclose(ours[1], theirs.unconditional, atol=0.01)
    assert (ours[0] - ours[1]).abs().max() > 0.1


def test_layers_are_numbered_as_in_adapter_files(files: Path) -> None:
    state = load_file(str(files / "adapter-base.safetensors"))
    for place, (_, width) in enumerate(attn2_layers(NARROW)):
        assert state[f"ip_adapter.{2 * place + 1}.to_k_ip.weight"].shape == (width, NARROW.context_width)


def test_probes_tell_how_often_the_truth_is_preferred_and_leave_sheets(
    trained: Run, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (base, adapters):
        monkeypatch.setattr(module, "sample", partial(denoise, steps=2))
    monkeypatch.setattr(adapters, "preferred", partial(base.preferred, scenes=2))
    unet = exporting.trained_modules(trained).unet.eval()
    text = text_pair(NARROW, trained.weights("text", "test"))
    encoder = trained_encoder(NARROW, trained.weights("vision", "test"))
    both = [training_adapter(files, kind, unet) for kind in ("base", "plus")]
    found = AdapterLearner(both, unet, text, encoder, 16, 0, joint=True).probe(Where(tmp_path))
    of_adapters = {f"{kind} {name}" for kind in ("base", "plus") for name in ("reference", "right")}
    assert set(found) == {*ATTRIBUTES, "background", *of_adapters}
    assert all(0 <= value <= 1 for name, value in found.items() if not name.endswith("right"))
    sheets = sorted(sheet.name.partition("-")[2] for sheet in (tmp_path / "sheets").iterdir())
    assert sheets == ["base.png", "base.png", "plus.png"]  # of the text alone, and of either adapter


@pytest.mark.parametrize("dropped", [0.0, 1.0])
def test_what_tells_a_mistaken_picture_what_it_is_is_never_left_out(
    trained: Run, files: Path, monkeypatch: pytest.MonkeyPatch, dropped: float
) -> None:
    unet = exporting.trained_modules(trained).unet
    text = text_pair(NARROW, trained.weights("text", "test"))
    encoder = trained_encoder(NARROW, trained.weights("vision", "test"))
    batch = Referenced(16, plain=0.5, mistaken=0.7, recipe=LARGE)(1, 8)
    referenced = torch.arange(8) < 4
    mistaken = batch["mistaken"] if dropped == 0 else batch["mistaken"] & ~referenced
    assert batch["mistaken"][:4].any()
    assert 0 < batch["mistaken"][4:].sum() < 4

    def loss(predict: object, latents: torch.Tensor, timesteps: torch.Tensor, noise: torch.Tensor, **told: torch.Tensor):
        assert torch.equal(told["shown"], torch.where(mistaken[:, None, None, None], batch["shown"], latents))
        assert ((timesteps > 300) | ~mistaken).all()
        return torch.zeros(8, requires_grad=True)

    def texts(text: object, captions: list[str], dropping: base.Dropping, random: Random, needed: list[bool]):
        assert needed == mistaken.tolist()
        context, pooled = base.conditions(text, captions, base.Dropping(1.0, 0.0), random, needed)
        assert torch.equal(pooled.any(1), mistaken)
        assert torch.equal(context.flatten(1).any(1), mistaken)
        return context, pooled

    monkeypatch.setattr(adapters, "_DROPPED", dropped)
    monkeypatch.setattr(adapters, "v_loss", loss)
    monkeypatch.setattr(adapters, "conditions", texts)
    AdapterLearner([training_adapter(files, "base", unet)], unet, text, encoder, 16, 0, joint=True).loss(batch)


def test_a_training_goes_on_from_its_files_and_comes_to_the_same_again(trained: Run, files: Path, tmp_path: Path) -> None:
    """All that is in them; only the seed is another, and what made them stays told."""
    out, again = tmp_path / "out", tmp_path / "files"
    go_on(files, out)
    assert earlier(out) == all_rounds(trained.where.out)
    for file in exporting.export(out, again, NARROW):
        assert file.read_bytes() == (files / file.name).read_bytes(), file.name
    assert settings(out, None, None, 7.0) == (7.0, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdapterLearner, "probe", lambda self, where: {})
        last = STAGES["last"]
        run = Run(Where(out), minutes=0, workers=0, structure=NARROW)
        assert train_stage(replace(last, plan=replace(last.plan, batch=2)), run, minutes=STEP).steps == 1
    assert [list(one) for one in all_rounds(out)] == [list(STAGES), ["last"]]


def test_the_oracle_of_the_files_judges(files: Path) -> None:
    scene = reference_scene(STAR, 1)
    told = Oracle.from_file(files / "oracle.safetensors").judge(draw([scene], 256).pictures[0], scene)
    assert told["identity"] == told["shape"] == told["pattern"] == 1
