"""`evaluate --bench`: from the command line to table and report."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.lab.benchmark.check import check, refuse_incomplete
from lib_anyms.lab.benchmark.models import Spec
from lib_anyms.lab.benchmark.painting import HostFiles, host_files
from lib_anyms.lab.benchmark.readers import read_bench
from lib_anyms.lab.benchmark.report import write_report
from lib_anyms.lab.benchmark.run import BENCH_MODES, Run, interrupted, make
from lib_anyms.lab.benchmark.scenes import Bench
from lib_anyms.lab.benchmark.scoring import Specs
from lib_anyms.lab.benchmark.tables import Table, collect, lines, write_results
from lib_anyms.lab.benchmark.team import Team
from lib_anyms.lab.commands.evaluate import OWN_FILES, SDXL, SMALL_WORLD, files_of, settings_of
from lib_anyms.lab.evaluation.pictures import DIFFUSERS, Settings, WebUIPainter
from lib_anyms.lab.evaluation.suites import MODES

_OUT = Path("anyms-bench")
_ACCELERATE = "Start it with accelerate launch --num_processes N instead."


def measure(args: argparse.Namespace) -> int:
    """Measure, or only check -> exit code. Raises Refused."""
    _refuse_others(args)
    bench = _bench(args)
    hosts = tuple(host for host in args.host or () if host != DIFFUSERS)
    real = args.checkpoint is not None or bool(hosts)
    settings = settings_of(args, SDXL if real else SMALL_WORLD)
    run = Run(bench, _named(args), settings, _specs(args), args.out or _OUT, _modes(args.modes, bool(hosts)), hosts)
    if args.bench_check:
        text, complete = check(run, _absent(args, bool(hosts)))
        print(*text, sep="\n")
        return int(not complete)
    refuse_incomplete(run)
    files = _on_hosts(args, hosts, settings) if hosts else replace(files_of(args), clip=None, size=_size(args))
    return _finish(replace(run, files=files), args.json)


def _finish(run: Run, json_file: Path | None) -> int:
    team = Team(run.settings.device)
    try:
        make(run, team, _say)
    except KeyboardInterrupt:
        if text := interrupted(run, team):
            _say(text)
        raise
    if team.is_first:
        table = collect(run)
        print(*lines(table), "", *_written(run, table, json_file), sep="\n")
    return 0


def _written(run: Run, table: Table, json_file: Path | None) -> list[Path]:
    path = write_results(run, table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(path.read_bytes())
    return [json_file or path, write_report(run, table)]


def _say(line: str) -> None:
    print(f"AnyMS: {line}", flush=True)


def _refuse_others(args: argparse.Namespace) -> None:
    """Options of the small world's evaluation would do nothing here."""
    remedies = {"processes": _ACCELERATE, "bars": "Leave it out.", "suite": "Leave it out: the folder has the scenes."}
    for name, remedy in remedies.items():
        if getattr(args, name):
            raise Refused("bench_without", option=f"--{name}", remedy=remedy)


def _bench(args: argparse.Namespace) -> Bench:
    if args.scenes is not None and args.scenes < 1:
        raise Refused("field_range", field="--scenes", got=args.scenes, low=1, high="the benchmark's number")
    if args.seeds is not None and not 1 <= args.seeds <= 1000:
        raise Refused("field_range", field="--seeds", got=args.seeds, low=1, high=1000)
    seeds = range(args.seed, args.seed + args.seeds) if args.seeds else None
    return read_bench(args.bench).fewer(args.scenes).with_seeds(seeds)


def _modes(text: str | None, on_hosts: bool) -> tuple[str, ...]:
    possible = [mode for mode in MODES if MODES[mode].stream or mode in BENCH_MODES]
    if on_hosts:
        possible = [mode for mode in possible if MODES[mode].on_hosts]
    if text is None:
        return tuple(mode for mode in BENCH_MODES if mode in possible)
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in possible:
            raise Refused("bench_modes", got=name, expected=", ".join(possible))
    return tuple(dict.fromkeys(chosen))


def _specs(args: argparse.Namespace) -> Specs:
    specs = [Spec(role, folder) for role in ("detector", "dino", "clip") for folder in getattr(args, role) or ()]
    if args.dreamsim is not None:
        specs.append(Spec("dreamsim", args.dreamsim))
    return Specs(tuple(specs))


def _size(args: argparse.Namespace) -> int | None:
    if args.size is not None and not (64 <= args.size <= 4096 and args.size % 8 == 0):
        raise Refused("cli_size", got=args.size)
    size: int | None = args.size
    return size


def _named(args: argparse.Namespace) -> HostFiles:
    """Names only, for the check: it reads no weights."""
    return host_files(args.adapter, args.encoder, _size(args))


def _on_hosts(args: argparse.Namespace, hosts: tuple[str, ...], settings: Settings) -> HostFiles:
    """Names, and the checkpoint that all WebUIs have loaded. Raises Refused."""
    files = _named(args)
    loaded: dict[str, str] = {}
    for host in hosts:
        painter = WebUIPainter(files, replace(settings, host=host))
        loaded[host] = painter.checkpoint
        if painter.advice:
            _say(f"{host}: {painter.advice}")
    for host, name in loaded.items():
        if name != loaded[hosts[0]]:
            raise Refused("bench_hosts", host=host, got=name, expected=loaded[hosts[0]])
    return host_files(args.adapter, args.encoder, _size(args), loaded[hosts[0]])


def _absent(args: argparse.Namespace, on_hosts: bool) -> tuple[str, ...]:
    """The roles without a file. A WebUI has its own; without any of them the small world's are used."""
    absent = [role for role in ("detector", "dino", "clip", "dreamsim") if not getattr(args, role)]
    own = [] if on_hosts else [role for role in OWN_FILES if not _is_file(getattr(args, role))]
    return (*own, *absent)


def _is_file(path: Path | None) -> bool:
    return path is not None and path.is_file()
