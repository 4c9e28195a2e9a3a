"""`--bench-check`: what is missing, how large it is and where it is published, before hours are spent."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.lab.benchmark.models import Spec
from lib_anyms.lab.benchmark.progress import duration
from lib_anyms.lab.benchmark.run import Run
from lib_anyms.lab.benchmark.scenes import Bench
from lib_anyms.standalone.environment import megabytes

PAPER_SECONDS = 19.0  # a picture on the paper's GPU
_PICTURE_MB = 1.6  # a PNG of 1024 pixels


@dataclass(frozen=True)
class Published:
    """A model or benchmark: what for, its name where it is published, its download in MB, 0 where we do not know it."""

    role: str
    name: str
    megabytes: int
    use: str = ""


# On huggingface.co, unless the name says otherwise. Of a model: config, weights in safetensors, processor, tokenizer.
PUBLISHED = (
    Published("checkpoint", "stabilityai/stable-diffusion-xl-base-1.0: sd_xl_base_1.0.safetensors", 6940),
    Published("adapter", "h94/IP-Adapter: sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors", 850),
    Published("encoder", "h94/IP-Adapter: models/image_encoder/model.safetensors", 2530),
    Published("detector", "IDEA-Research/grounding-dino-tiny", 690, "12 GB cards"),
    Published("detector", "IDEA-Research/grounding-dino-base", 940, "LAMICBench++"),
    Published("detector", "google/owlv2-base-patch16-ensemble", 620, "MuDI"),
    Published("dino", "facebook/dino-vits16", 90, "the usual DINO score"),
    Published("dino", "facebook/dinov2-small", 90, "DreamBench++"),
    Published("dino", "facebook/dinov2-giant", 4550, "LAMICBench++"),
    Published("clip", "openai/clip-vit-base-patch32", 610, "the usual CLIP-I and CLIP-T"),
    Published("clip", "openai/clip-vit-large-patch14", 1710, "LAMICBench++"),
    Published("dreamsim", "the package dreamsim, which downloads its weights", 0),
    Published(
        "bench",
        "github.com/MS-Diffusion/MS-Diffusion: msbench, msdiffusion/dataset/prompts (MS-Bench)",
        23,
    ),
    Published("bench", "github.com/nenhang/ContextGen with Git LFS: both packs of bench (LAMICBench++)", 71),
    Published("bench", "github.com/google/dreambooth: the folder dataset (DreamBench)", 112),
    Published("bench", "github.com/adobe-research/custom-diffusion with benchmark_dataset.zip (CustomConcept101)", 0),
)
ROLES = ("checkpoint", "adapter", "encoder", "detector", "dino", "clip")  # without the optional ones


def published(role: str) -> list[str]:
    """A line for each download of a role."""
    lines = []
    for one in PUBLISHED:
        if one.role == role:
            size = f", {one.megabytes / 1000:.2g} GB" if one.megabytes else ""
            use = f" ({one.use})" if one.use else ""
            lines.append(f"    {one.name}{size}{use}")
    return lines


def check(run: Run, absent: tuple[str, ...]) -> tuple[list[str], bool]:
    """(lines, whether everything is there). absent: roles without a file on the command line."""
    lines: list[str] = []
    problems = 0
    for role in absent:
        optional = role in ("detector", "dino", "clip", "dreamsim")
        lines.append(f"{'left out' if optional else 'MISSING'}: {role}{_effect(role)}; published as")
        lines += published(role)
        problems += not optional
    for spec in run.specs.all:
        problem = spec.problem()
        problems += bool(problem)
        lines += _model_lines(spec, problem)
    gone = [path for path in run.bench.files() if not path.is_file()]
    problems += bool(gone)
    lines += _bench_lines(run.bench, gone)
    lines += _work_lines(run)
    return [*lines, "everything is there" if not problems else f"{problems} things are missing"], not problems


def _effect(role: str) -> str:
    effects = {"detector": "mIoU, AP50 and found crops", "dino": "DINO", "clip": "CLIP-I and CLIP-T"}
    effects["dreamsim"] = "DreamSim"
    return f", so no {effects[role]}" if role in effects else ""


def _model_lines(spec: Spec, problem: str) -> Iterator[str]:
    if problem:
        yield f"MISSING: {spec.role} {spec.folder}: {problem}; published as"
        yield from published(spec.role)
    elif spec.is_templates:
        yield "detector: the small world's templates"
    else:
        yield f"{spec.role} {spec.folder}: {megabytes(spec.folder):.0f} MB"


def _bench_lines(bench: Bench, gone: list[Path]) -> Iterator[str]:
    groups = Counter(scene.group or "scenes" for scene in bench.scenes)
    yield f"{bench.name}: {len(bench.scenes)} scenes, {len(bench.files())} reference files"
    yield from (f"    {name}: {count}" for name, count in groups.items())
    yield from (f"    {note}" for note in bench.notes)
    for path in gone[:10]:
        yield f"MISSING: {path}"
    if len(gone) > 10:
        yield f"MISSING: {len(gone) - 10} more reference files"


def _work_lines(run: Run) -> Iterator[str]:
    jobs = len(run.jobs())
    seeds = sum(len(scene.seeds) for scene in run.bench.scenes)
    yield f"{seeds} scenes and seeds in {len(run.modes)} modes: {jobs} pictures"
    known = list((run.out / "pictures").glob("*.json")) if run.out.is_dir() else []
    time = duration(jobs * PAPER_SECONDS)
    yield f"    at the paper's {PAPER_SECONDS:g} s each {time} on one GPU; {len(known)} are made"
    needed = jobs * _PICTURE_MB / 1000
    folder = next(path for path in (run.out.absolute(), *run.out.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free / 1e9
    yield f"    about {needed:.1f} GB of pictures; {free:.0f} GB are free in {folder}"


def refuse_incomplete(run: Run) -> None:
    """Before hours are spent. Raises Refused for the first model or reference that is missing."""
    for spec in run.specs.all:
        if problem := spec.problem():
            raise Refused("bench_model", path=spec.folder, expected=spec.role, got=problem)
    for path in run.bench.files():
        if not path.is_file():
            raise Refused("cli_file", path=path, got="there is no such file")
