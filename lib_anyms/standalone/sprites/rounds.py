"""A further round of a training, in a folder of its own: UNet and adapters go on from what the round before came to.

The round before is the folder of a training, or the files that one was exported to: those tell what made them.

<out>/weights/before.safetensors   UNet and adapters of the round before; beside it what is trained once (text, oracle, ...)
<out>/rounds.json                  what each earlier round took: [{stage: {steps, images, seconds}}, ...], the first one first
<out>/log.jsonl                    begins with the earlier rounds' lines, each with the number of its round
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.standalone.sprites.bundle import CHECKPOINT, ROUNDS
from lib_anyms.standalone.sprites.reopen import reopen
from lib_anyms.standalone.sprites.stages import BASES, BEFORE, RUN, STAGES, complete, settings
from lib_anyms.standalone.sprites.training import LOG, Spent, Where

Round = dict[str, Spent]


def go_on(source: Path, out: Path) -> None:
    """Begin in `out` the round after the training in `source`, which is left as it is; with a seed of its own. Raises Refused."""
    theirs, ours = Where(source), Where(out)
    latest = next((name for name in BASES if theirs.weights(name).is_file()), None)
    if latest is None and not (source / CHECKPOINT).is_file():
        raise Refused("train_needs", stage="--from", needs=BASES[-1], out=source)
    if out.exists() and any(out.iterdir()):
        raise Refused("train_exists", out=out)
    if latest is None:
        reopen(source, out)
        rounds = earlier(source)
    else:
        ours.weights(BEFORE).parent.mkdir(parents=True)
        shutil.copyfile(theirs.weights(latest), ours.weights(BEFORE))
        for name in STAGES.keys() - set(BASES):
            if theirs.weights(name).is_file():
                shutil.copyfile(theirs.weights(name), ours.weights(name))
        rounds = all_rounds(source)
    write_rounds(out, rounds)
    minutes, seed = settings(source, None, None, 0)
    seed = max(1, len(rounds)) if latest is None else seed + 1  # or it would see the same pictures again
    (out / RUN).write_text(json.dumps({"seed": seed} | ({"minutes": minutes} if minutes else {})), encoding="utf-8")
    _copy_log(source / LOG, out / LOG, len(rounds))


def earlier(out: Path) -> list[Round]:
    """What the rounds before the one in `out` took; of exported files what all took."""
    path = out / ROUNDS
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [{name: Spent(**spent) for name, spent in one.items()} for one in told]


def all_rounds(out: Path) -> list[Round]:
    """The same, and what the one in `out` took so far."""
    done = {name: complete(stage, Where(out)) for name, stage in STAGES.items() if not rounds_hold(out, name)}
    now = {name: spent for name, spent in done.items() if spent and spent.steps}
    return [*earlier(out), now] if now else earlier(out)


def write_rounds(folder: Path, rounds: list[Round]) -> None:
    """Into a further round's folder, or beside the files that came of them."""
    told = [{name: asdict(spent) for name, spent in one.items()} for one in rounds]
    (folder / ROUNDS).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def rounds_hold(out: Path, stage: str) -> bool:
    """Whether the weights of a stage lie in `out` because an earlier round made them."""
    return stage not in BASES and any(stage in one for one in earlier(out))


def _copy_log(source: Path, out: Path, number: int) -> None:
    if not source.is_file():
        return
    with out.open("w", encoding="utf-8") as file:
        for line in source.read_text(encoding="utf-8").splitlines():
            file.write(json.dumps({"round": number, **json.loads(line)}) + "\n")
