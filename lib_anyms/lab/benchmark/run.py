"""A whole measurement: make the missing pictures, then score them, then write tables and report.

Every picture and every model's score of it is a file named by a hash of all that decides it. So a run continues where
it was interrupted, a further model scores the pictures that are there, and it does not matter which process made what.
Pictures come first: on one GPU there is no room for SDXL beside the models that score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from lib_anyms import __version__
from lib_anyms.lab.benchmark.painting import BenchPainter, Cost, HostFiles, Job, on_hosts, release
from lib_anyms.lab.benchmark.progress import Progress
from lib_anyms.lab.benchmark.scenes import Bench, Sample
from lib_anyms.lab.benchmark.scoring import Score, Scorer, Specs
from lib_anyms.lab.benchmark.team import Say, Team, alive, forget, statuses, wait_for_others, write_json
from lib_anyms.lab.evaluation.pictures import DIFFUSERS, Files, Settings, file_hash
from lib_anyms.lab.evaluation.suites import MODES, PEER, REAL, WORDS

RULES = 1  # increase when pictures change their meaning: older ones are then made again
PICTURES, SCORES = "pictures", "scores"
# All but real renderings and the variants of words.
BENCH_MODES = tuple(name for name in MODES if name != REAL and not name.startswith(f"{WORDS}-"))


@dataclass(frozen=True)
class Run:
    """What is measured with what, and where it is written. hosts: addresses of WebUIs; empty for diffusers."""

    bench: Bench
    files: Files | HostFiles
    settings: Settings
    specs: Specs
    out: Path
    modes: tuple[str, ...] = BENCH_MODES
    hosts: tuple[str, ...] = ()

    def samples(self) -> list[Sample]:
        """Scene by scene, seed by seed."""
        samples: list[Sample] = []
        for scene in self.bench.scenes:
            samples += [Sample(scene, seed) for seed in scene.seeds]
        return samples

    def jobs(self) -> list[Job]:
        """All pictures, a scene's modes together; the peer's come last, since it needs another pipeline."""
        jobs: list[Job] = []
        for sample in self.samples():
            jobs += [(sample, mode) for mode in self.modes]
        return sorted(jobs, key=lambda job: job[1] == PEER)

    def key(self, job: Job) -> str:
        """A hash of all that decides a picture: not the device, not which WebUI made it."""
        sample, mode = job
        settings = self.settings
        used: dict[str, Any] = {"rules": RULES, "version": __version__, "mode": mode, "seed": sample.seed}
        used |= {name: getattr(settings, name) for name in ("steps", "guidance", "scale", "fade", "dtype")}
        used |= {"side": self.files.side, "on": "webui" if self.hosts else DIFFUSERS}
        used |= {"files": self.files.hashes(), "scene": _scene_facts(sample)}
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:20]

    def picture(self, job: Job) -> Path:
        return self.out / PICTURES / f"{self.key(job)}.png"

    def cost(self, job: Job) -> Cost | None:
        """Of a picture that is there."""
        data = _json(self.picture(job).with_suffix(".json"))
        return Cost(**data) if data else None

    def scores(self, job: Job) -> list[Score]:
        """Of all models that have scored the picture, in the command line's order."""
        contents = [_json(self.score_file(job, number)) for number in range(len(self.specs.all))]
        return [Score.from_json(content) for content in contents if content]

    def score_file(self, job: Job, number: int) -> Path:
        """Of the model with that number."""
        return self.out / SCORES / f"{self.key(job)}-{self.specs.id(self.specs.all[number])}.json"

    def is_scored(self, job: Job) -> bool:
        return all(self.score_file(job, number).is_file() for number in range(len(self.specs.all)))

    def missing(self) -> list[Job]:
        """Without a picture, or without a score."""
        return [job for job in self.jobs() if not (self.picture(job).is_file() and self.is_scored(job))]


def _scene_facts(sample: Sample) -> dict[str, Any]:
    """What of a scene decides a picture; the files by their content."""
    subjects = []
    for subject in sample.scene.subjects:
        box = subject.box
        files = [(file_hash(one.picture), file_hash(one.mask) if one.mask else "") for one in subject.references]
        subjects.append([subject.name, subject.prompt, [box.x0, box.y0, box.x1, box.y1], files])
    return {"prompt": sample.prompt, "background": sample.scene.background, "subjects": subjects}


def _json(path: Path) -> Any:
    """None for a file that is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def make(run: Run, team: Team, say: Say) -> None:
    """Make and score what is missing, this process its share. The first one also makes what a lost one left.

    Raises Refused and SteppedAside.
    """
    for name in (PICTURES, SCORES):
        (run.out / name).mkdir(parents=True, exist_ok=True)
    quiet: Say = say if team.is_first else lambda line: None
    if team.is_first:
        forget(run.out, say)
    team.meet(run.out)
    missing = run.missing()
    team.wait()  # else a fast process's first pictures would change a slow one's list
    total = len(run.jobs())
    quiet(f"{total - len(missing)} of {total} pictures are there; {len(missing)} to make or score by {_who(run, team)}")
    share = team.share(missing)
    with alive(run.out, team.number, len(share)) as finished:
        _work(run, share, team.device, quiet, finished)
    if team.is_first and team.count > 1:
        wait_for_others(run.out, team.count, say)
        _work(run, run.missing(), team.device, say, lambda: None)


def _who(run: Run, team: Team) -> str:
    if run.hosts:
        return f"{len(run.hosts)} WebUIs"
    return f"{team.count} processes" if team.count > 1 else "one process"


def _work(run: Run, jobs: Sequence[Job], device: str, say: Say, finished: Callable[[], None]) -> None:
    absent = [job for job in jobs if not run.picture(job).is_file()]
    progress = Progress("pictures", len(absent), say)
    for job, picture, cost in _painted(run, absent, device, say):
        write_json(run.picture(job).with_suffix(".json"), cost.to_json())
        half = run.picture(job).with_suffix(".half")
        picture.save(half, "PNG")
        half.replace(run.picture(job))
        finished()
        progress.step()
    release()
    for number, spec in enumerate(run.specs.all):
        unscored = [job for job in jobs if not run.score_file(job, number).is_file()]
        if unscored:
            say(f"scoring {len(unscored)} pictures with {spec.role} {spec.folder.name}")
            _score(run, unscored, number, device, say)


def _painted(run: Run, jobs: Sequence[Job], device: str, say: Say) -> Iterator[tuple[Job, Image.Image, Cost]]:
    if not jobs:
        return
    if isinstance(run.files, HostFiles):
        yield from on_hosts(run.hosts, run.files, run.settings, jobs, say)
        return
    painter = BenchPainter(run.files, replace(run.settings, device=device))
    for sample, mode in jobs:
        yield ((sample, mode), *painter.paint(sample, mode))


def _score(run: Run, jobs: Sequence[Job], number: int, device: str, say: Say) -> None:
    spec = run.specs.all[number]
    scorer = Scorer(spec, _scoring_device(device, bool(run.hosts)))
    detectors = run.specs.detectors
    first = run.specs.all.index(detectors[0]) if detectors else None
    progress = Progress("scores", len(jobs), say)
    for job in jobs:
        with Image.open(run.picture(job)) as file:
            picture = file.convert("RGB")
        found_by = None if first in (None, number) else _json(run.score_file(job, first or 0))
        score = scorer.score(picture, job[0], Score.from_json(found_by) if found_by else None)
        write_json(run.score_file(job, number), score.to_json())
        progress.step()
    del scorer
    release()


@cache
def _scoring_device(device: str, on_hosts: bool) -> str:
    """A WebUI on this machine needs the GPU; "auto" picks the fastest device otherwise."""
    from lib_anyms.standalone.generate import pick_device

    return "cpu" if on_hosts and device == "auto" else str(pick_device(device))


def interrupted(run: Run, team: Team) -> str:
    """What to say after Ctrl-C or a signal: which processes had not finished."""
    unfinished = [str(status) for status in statuses(run.out) if status.state != "done"]
    if not team.is_first or not unfinished:
        return ""
    return f"stopped: {'; '.join(unfinished)}. Run the same command again: it continues from there"
