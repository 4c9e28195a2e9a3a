"""The small world: what it draws and tells, what it keeps for the evaluation, and the files its training comes to."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.standalone.pipeline import read_checkpoint
from lib_anyms.standalone.sprites.captions import caption, full_caption, read, vocabulary, words_of
from lib_anyms.standalone.sprites.data import CROWDED, SEVERAL, Scenes
from lib_anyms.standalone.sprites.export import export, join_files, split_files
from lib_anyms.standalone.sprites.identity import (
    ATTRIBUTES,
    COLOURS,
    PATTERNS,
    SHAPES,
    UNSEEN_COLOURS,
    UNSEEN_SHAPES,
    held_out_identity,
    trained_identity,
    unseen_identity,
)
from lib_anyms.standalone.sprites.latents import pool_latents
from lib_anyms.standalone.sprites.scene import BACKGROUNDS, draw_scene
from lib_anyms.standalone.sprites.stages import STAGES, Run, train_stage
from lib_anyms.standalone.sprites.training import Where
from lib_anyms.standalone.sprites.vae import build_vae
from lib_anyms.standalone.sprites.world import draw
from lib_anyms.standalone.structure import SPRITES

SCENES = [draw_scene(SEVERAL, seed) for seed in range(30)] + [draw_scene(CROWDED, seed) for seed in range(10)]


def test_the_world_is_as_large_as_it_was_meant_to_be() -> None:
    assert (len(SHAPES), len(COLOURS), len(PATTERNS)) == (24, 12, 6)
    assert len(BACKGROUNDS) >= 6
    assert {len(scene.subjects) for scene in SCENES} == set(range(1, 9))


def test_training_never_meets_what_the_evaluation_keeps() -> None:
    random = Random(0)
    for _ in range(300):
        trained, kept = trained_identity(random), held_out_identity(random)
        assert trained.trained
        assert not kept.trained
        assert trained.shape not in UNSEEN_SHAPES
        assert not {trained.body, trained.second} & set(UNSEEN_COLOURS)
        assert not unseen_identity(random, "shape").trained
        miss = kept.near_miss("pattern", random)
        assert [getattr(kept, name) == getattr(miss, name) for name in ATTRIBUTES].count(False) == 1
    for scene in SCENES:
        assert all(subject.identity.trained for subject in scene.subjects)


def test_a_seed_draws_one_picture() -> None:
    again = [draw_scene(SEVERAL, seed) for seed in range(3)]
    assert again == SCENES[:3]
    assert torch.equal(draw(again).pictures, draw(SCENES[:3]).pictures)
    assert not torch.equal(draw(SCENES[:1]).pictures, draw(SCENES[1:2]).pictures)


def test_boxes_are_those_of_the_silhouettes() -> None:
    drawn = draw(SCENES, size=256)
    assert drawn.pictures.shape == (len(SCENES), 3, 256, 256)
    assert (drawn.pictures.min() >= 0, drawn.pictures.max() <= 1) == (True, True)
    for scene, silhouettes in zip(SCENES, drawn.silhouettes):
        for subject, silhouette in zip(scene.subjects, silhouettes):
            rows, columns = silhouette.any(1).nonzero(), silhouette.any(0).nonzero()
            seen = [columns.min() / 256, rows.min() / 256, (columns.max() + 1) / 256, (rows.max() + 1) / 256]
            box = subject.box
            for got, expected in zip(seen, (box.x0, box.y0, box.x1, box.y1)):
                assert abs(float(got) - expected) < 0.02, subject


def test_every_caption_tells_the_truth_and_can_be_read_back() -> None:
    random, words = Random(0), set(vocabulary())
    for scene in SCENES:
        for text in (full_caption(scene), *(caption(scene, random) for _ in range(5))):
            assert set(words_of(text)) <= words
            told = read(text)
            assert told.background in ("", scene.background)
            assert told.count in (0, len(scene.subjects))
            shown = [
                {**{name: getattr(subject.identity, name) for name in ATTRIBUTES}, "action": subject.action, "size": subject.size}
                for subject in scene.subjects
            ]
            for facts in told.subjects:
                assert any(all(true[name] == word for name, word in facts.items()) for true in shown), (text, facts)
    whole = read(full_caption(SCENES[0]))
    assert len(whole.subjects) == len(SCENES[0].subjects)
    assert whole.background == SCENES[0].background


@pytest.mark.parametrize("size", [128, 256])
def test_the_encoder_is_the_pooling(size: int) -> None:
    pictures = draw(SCENES[:3], size).pictures
    vae = build_vae(SPRITES)
    with torch.no_grad():
        latents = vae.config.scaling_factor * vae.encode(2 * pictures - 1).latent_dist.mode()
        back = vae.decode(pool_latents(pictures) / vae.config.scaling_factor).sample / 2 + 0.5
    assert (latents - pool_latents(pictures)).abs().max() < 1e-3
    blurred = torch.nn.functional.avg_pool2d(pictures, 8)
    assert (torch.nn.functional.avg_pool2d(back, 8) - blurred).abs().mean() < 0.05  # the analytic start of the decoder


def test_a_training_is_resumed_exported_and_joined(tmp_path: Path) -> None:
    """Seconds of each stage: what is learnt is nothing, what is written is whole."""
    out = tmp_path / "training"
    run = Run(Where(out), 1.0, workers=0)
    with pytest.raises(Refused) as refusal:
        train_stage(STAGES["base16"], run, minutes=0.01)
    assert refusal.value.cause == "train_needs"
    for name in ("text", "vision", "base16", "adapter-base", "adapter-plus"):
        spent = train_stage(STAGES[name], run, minutes=0.02)
        assert spent.steps >= 1
    longer = train_stage(STAGES["base16"], run, minutes=0.04, resume=True)
    assert longer.seconds > 0.03 * 60
    files = export(out, out / "files")
    described = read_checkpoint(files[0])
    assert described.structure == SPRITES
    encoder = read_encoder(files[1])
    for path in files[2:4]:
        adapter = read_adapter(path)
        assert adapter.encoder_width == encoder.width_for(adapter.kind)
        assert adapter.context_width == SPRITES.context_width
    assert sum(path.stat().st_size for path in files) < 40e6
    listed = split_files(files, tmp_path / "parts")
    assert all(path.stat().st_size <= 15 * 2**20 for path in listed.parent.iterdir())
    for joined, file in zip(join_files(listed, tmp_path / "joined"), files):
        assert joined.read_bytes() == file.read_bytes()
    part = next(path for path in listed.parent.iterdir() if path.name.startswith("checkpoint"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(Refused):
        join_files(listed, tmp_path / "joined")


def test_batches_are_made_in_other_processes_too(tmp_path: Path) -> None:
    from lib_anyms.standalone.sprites.data import batches

    here = next(batches(Scenes((SEVERAL,), 16, 8), 2, seed=1, workers=0))
    there = next(batches(Scenes((SEVERAL,), 16, 8), 2, seed=1, workers=1))
    assert torch.equal(here["latents"], there["latents"])
    assert here["captions"] == there["captions"]
    assert here["latents"].shape == (2, 4, 16, 16)
