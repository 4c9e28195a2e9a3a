"""Every stage runs for a few steps; the hosts' loader takes the exported files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.ip_adapter.tokens import image_tokens
from lib_anyms.job.request import Request
from lib_anyms.lab.train import stages, unet
from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.data import References
from lib_anyms.lab.train.diffusion import predictor
from lib_anyms.lab.train.diffusion import sample as denoise
from lib_anyms.lab.train.export import card, export, history_of, start_from, trained_modules
from lib_anyms.lab.train.stages import STAGES, Run, begin, train_all, train_stage
from lib_anyms.lab.train.text import TextPair
from lib_anyms.lab.train.trainer import Learner, TrainContext
from lib_anyms.lab.train.trainer import trained as frozen
from lib_anyms.lab.train.vision import new_encoder, normalised
from lib_anyms.lab.world.draw import draw, draw_reference, to_image
from lib_anyms.lab.world.identity import ATTRIBUTES, Identity
from lib_anyms.lab.world.latents import latents_of, pool
from lib_anyms.lab.world.scene import Scene
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject
from lib_anyms.standalone.bundle import ADAPTERS, CARD, CHECKPOINT, CURVES, ENCODER, HISTORY
from lib_anyms.standalone.generate import Models, sample
from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.sampling import Sampling
from lib_anyms.standalone.structure import SPRITES, attn2_layers
from tests.lab.bank import bank

NARROW = replace(SPRITES, widths=(32, 32, 64), resampler_layers=1)
STAR = Identity("star", "red", "blue", "band")
MINUTES = 2e-4  # a step of any stage takes longer


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory):
    """Small batches, few masks and no probes, for a training of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for learner in Learner.__subclasses__():
            patch.setattr(learner, "probe", lambda self, context: {})
        patch.setattr(unet, "Bank", bank)
        patch.setattr(unet, "BATCHES", {16: 2, 24: 2, 32: 2})
        for name in ("TextLearner", "VisionLearner", "DecoderLearner"):
            learner = getattr(stages, name)
            patch.setattr(stages, name, lambda *args, learner=learner: learner(*args, batch=2))
        yield patch


@pytest.fixture(scope="module")
def trained(small: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(TrainContext(tmp_path_factory.mktemp("training")), minutes=MINUTES, structure=NARROW)
    progress = train_all(run)
    assert list(progress) == ["text", "vision", "decoder", "unet"]
    assert all(one.steps >= 1 for one in progress.values())
    return run


@pytest.fixture(scope="module")
def files(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    exported = export(trained.context.out, folder, NARROW)
    assert [file.name for file in exported] == [CHECKPOINT, ENCODER, ADAPTERS["base"], ADAPTERS["plus"]]
    return folder


@pytest.fixture(scope="module")
def pipeline(files: Path):
    loaded = load_pipeline(files / CHECKPOINT, "cpu", torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


# -- files -------------------------------------------------------------------------------------------------------------


def test_the_files_are_in_half_precision_and_marked(files: Path) -> None:
    assert read_checkpoint(files / CHECKPOINT).structure == NARROW
    for name in (CHECKPOINT, ENCODER, *ADAPTERS.values()):
        assert {tensor.dtype for tensor in load_file(str(files / name)).values()} == {torch.float16}
    assert "v_pred" in load_file(str(files / CHECKPOINT))
    for kind, tokens in (("base", 4), ("plus", 16)):
        adapter = read_adapter(files / ADAPTERS[kind])
        assert (adapter.kind, adapter.tokens) == (kind, tokens)
    state = load_file(str(files / ADAPTERS["base"]))
    for place, (_, width) in enumerate(attn2_layers(NARROW)):
        assert state[f"ip_adapter.{2 * place + 1}.to_k_ip.weight"].shape == (width, NARROW.context_width)
    assert not (files / CURVES).exists() or (files / CURVES).stat().st_size > 1000


@torch.no_grad()
def test_the_pipeline_computes_the_same_as_the_training(trained: Run, pipeline) -> None:
    captions = ["a star and a moon on grass", "figure, sand", ""]
    context, pooled = frozen(TextPair(NARROW), trained.weights("text", "test"), "pair")(captions)
    theirs, _, their_pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)
    assert torch.allclose(theirs, context, atol=0.02)  # the file is in half precision
    assert torch.allclose(their_pooled, pooled, atol=0.02)
    torch.manual_seed(0)
    latents, timesteps = torch.randn(3, 4, 16, 16), torch.tensor([500, 800, 20])
    expected = trained_modules(trained).unet.eval()
    outputs = [predictor(net, (context, pooled), 256)(latents, timesteps) for net in (pipeline.unet, expected)]
    assert torch.allclose(*outputs, atol=0.02)
    assert outputs[0].abs().max() > 0.01
    pictures = draw(Scene("clay", ()), 64)[None]
    encoded = pipeline.vae.encode(pictures * 2 - 1).latent_dist.mean * pipeline.vae.config.scaling_factor
    assert torch.allclose(encoded, latents_of(pool(pictures)), atol=0.01)


@pytest.mark.parametrize("kind", ["base", "plus"])
@torch.no_grad()
def test_tokens_with_and_without_a_reference_are_the_engine_s(trained: Run, files: Path, pipeline, kind: str) -> None:
    adapter = Adapter(kind, NARROW, pipeline.unet)
    adapter.load_state_dict({name: tensor.float() for name, tensor in load_file(str(files / ADAPTERS[kind])).items()})
    picture = draw_reference(STAR, Random(1))
    engine = Encoder(read_encoder(files / ENCODER), torch.device("cpu"), torch.float32)
    theirs = image_tokens(read_adapter(files / ADAPTERS[kind]), engine, [[to_image(picture)]])
    references = References(frozen(new_encoder(NARROW), trained.weights("vision", "test"), "encoder"))
    shown = references._encode(normalised(picture[None]))[kind][0]
    ours = adapter.tokens(torch.stack((shown, references("base" if kind == "base" else "plus", [None], Random(0))[0])))
    assert torch.allclose(ours[0], theirs.subjects[0], atol=0.03)  # half precision, and 8-bit images
    assert torch.allclose(ours[1], theirs.unconditional, atol=0.03)
    assert (ours[0] - ours[1]).abs().max() > 0.1


def test_the_engine_makes_a_picture_with_the_files(files: Path, pipeline) -> None:
    models = Models(files / CHECKPOINT, files / ADAPTERS["plus"], files / ENCODER)
    reference = to_image(draw_reference(STAR, Random(2), 128))
    request = Request(Layout((Subject("star", Box(0, 0, 0.5, 1)),)), ((reference,),), scale=1.0)
    pictures = []
    for one in (request, replace(request, scale=0.0)):
        generated = sample(pipeline, models, one, "a star on grass", Sampling(1, 2, 3.0, (64, 64)))
        assert generated.layers == len(attn2_layers(NARROW)) == 7
        pictures.append(generated.picture)
    assert pictures[0].size == (64, 64)
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_the_history_lists_each_stage(trained: Run, files: Path) -> None:
    history = json.loads((files / HISTORY).read_text(encoding="utf-8"))
    assert history == history_of(trained.context)
    assert [one["stage"] for one in history] == ["text", "vision", "decoder", "unet"]


def test_the_card_lists_the_cost_of_each_stage(trained: Run, files: Path) -> None:
    text = (files / CARD).read_text(encoding="utf-8")
    for name in STAGES:
        progress = trained.context.progress_of(name)
        assert f"| {name} | {progress.pictures:,} | {progress.steps:,} | 0 |" in text
    facts = {"stage": "unet", "steps": 1234, "pictures": 56789, "seconds": 150.0}
    assert "| unet | 56,789 | 1,234 | 2 |" in card([facts])


# -- stages ------------------------------------------------------------------------------------------------------------


def test_a_complete_stage_stays_and_continues_with_more_time(tmp_path: Path, small: pytest.MonkeyPatch) -> None:
    run = Run(TrainContext(tmp_path), minutes=0, structure=NARROW)
    done = train_stage(STAGES["text"], run, minutes=MINUTES)
    state = run.context.weights("text").read_bytes()
    assert train_stage(STAGES["text"], run, minutes=MINUTES, resume=True) == done == run.context.progress_of("text")
    assert run.context.weights("text").read_bytes() == state
    seeds: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "reseed", lambda self, seed: seeds.append(seed))
        more = train_stage(STAGES["text"], run, minutes=done.seconds / 60 + MINUTES, resume=True)
    assert more.steps > done.steps
    assert len(seeds) == 1
    assert run.context.weights("text").read_bytes() != state


def test_a_training_continues_from_exported_files(files: Path, tmp_path: Path, small: pytest.MonkeyPatch) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    start_from(files, out)
    for file in export(out, again, NARROW):
        assert file.read_bytes() == (files / file.name).read_bytes(), file.name
    run = Run(TrainContext(out), minutes=MINUTES, seed=1, structure=NARROW)
    before = {stage: run.weights(stage, "a test") for stage in STAGES}
    first: list[dict[str, torch.Tensor]] = []
    build = stages.UNetLearner

    class Watched(build):
        def step(self, share: float):
            first.append({name: tensor.clone() for name, tensor in self.module.state_dict().items()})
            return super().step(share)

    small.setattr(stages, "UNetLearner", Watched)
    try:
        train_all(run, resume=True)
    finally:
        small.setattr(stages, "UNetLearner", build)
    assert all(torch.equal(first[0][name], tensor) for name, tensor in before["unet"].items())
    after = {stage: run.weights(stage, "a test") for stage in STAGES}
    for stage in ("text", "vision", "decoder"):  # complete: not trained again
        assert all(torch.equal(after[stage][name], tensor) for name, tensor in before[stage].items())
    assert any(not torch.equal(after["unet"][name], tensor) for name, tensor in before["unet"].items())
    history = json.loads((files / HISTORY).read_text(encoding="utf-8"))
    assert history_of(run.context)[:-1] == history
    assert history_of(run.context)[-1]["stage"] == "unet"


def test_a_run_remembers_its_settings(tmp_path: Path) -> None:
    assert begin(tmp_path, 5, 3, False, 240) == (5.0, 3)
    assert begin(tmp_path, None, None, True, 240) == (5.0, 3)
    assert begin(tmp_path, 8, None, True, 240) == (8.0, 3)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"minutes": 8, "seed": 3}
    assert begin(tmp_path / "other", None, None, False, 240) == (240.0, 0)
    (tmp_path / "state").mkdir()
    with pytest.raises(Refused, match="--resume"):
        begin(tmp_path, 5, 3, False, 240)


def test_the_probe_reports_preferences_and_samples(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet, "_PICTURES", 3)
    monkeypatch.setattr(unet, "_SAMPLES", 2)
    monkeypatch.setattr(unet, "sample", lambda *args: denoise(*args[:3], 2, args[4]))
    learner = STAGES["unet"].learner(trained, 0)
    values = unet.preferred(learner, 16) | unet.sampled(learner, 16, TrainContext(tmp_path))
    assert set(values) == {
        *("error", "word", "got_identity"),
        *(f"ref_{name}" for name in ATTRIBUTES),
        *(f"got_{name}" for name in ATTRIBUTES),
    }
    assert all(0 <= value <= 1 for name, value in values.items() if name != "error")
    assert [sheet.name for sheet in (tmp_path / "sheets").iterdir()] == ["0000-single16.png"]
