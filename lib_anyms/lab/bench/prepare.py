"""The suite "prepare": what it takes before the first step, from pictures never seen, from pictures seen before, and
from cards.

The projection to keys and values follows each of these, and is told by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from lib_anyms.cards.library import read_file
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.job import encoding
from lib_anyms.job.card_making import make_card
from lib_anyms.job.encoding import CPU, OnCPU, encode_pictures
from lib_anyms.lab.bench.memory import watched
from lib_anyms.lab.bench.timing import Row, Times, row
from lib_anyms.models.model_files import ModelPair

COUNTS = (1, 7, 12)
COLD, WARM, CARD, PROJECTION = "cold encode", "warm encode", "from card", "K/V projection"
_SIDE = 512
Group = tuple[Image.Image, ...]


def prepare_rows(pair: ModelPair, counts: Sequence[int] = COUNTS, rounds: int = 5) -> Iterator[Row]:
    """Four rows for each number of subjects, on the CPU in float32; they take turns, and ratios are to the cold encode.

    Times are those of the processor, all threads together: a busy machine, or a slow disk, is not in them.
    """
    for count in counts:
        groups: list[Group] = [(_picture(number),) for number in range(count)]
        with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
            paths = [Path(folder, f"{number}.safetensors") for number in range(count)]
            acts = _acts(pair, groups, paths)
            times: Times = {name: [] for name in acts}
            memory = dict.fromkeys(acts, 0.0)
            for number in range(rounds):
                for name, act in acts.items():
                    if name == CARD and not number:
                        _save_cards(pair, groups, paths)
                    seconds, mib = watched(act)
                    times[name].append(seconds)
                    memory[name] = max(memory[name], mib)
        for name in acts:
            yield row(f"prepare, {name}", count, pair.adapter.tokens, times, name, COLD, memory[name])


def _acts(pair: ModelPair, groups: list[Group], paths: list[Path]) -> dict[str, Callable[[], object]]:
    """In this order the first one leaves what the second finds, and what the cards are made of."""

    def cold() -> ImageTokens:
        encoding.kept.clear()
        return _encode(pair, groups)

    def projection() -> object:
        return project_key_values(pair.adapter, _read(paths), CPU, torch.float32)

    return {COLD: cold, WARM: lambda: _encode(pair, groups), CARD: lambda: _read(paths), PROJECTION: projection}


def _save_cards(pair: ModelPair, groups: list[Group], paths: list[Path]) -> None:
    for path, group in zip(paths, groups):
        path.write_bytes(make_card(path.stem, "subject", group, [pair]))


def _read(paths: list[Path]) -> ImageTokens:
    read = [read_file(path).encodings[0] for path in paths]
    return ImageTokens(tuple(each.tokens for each in read), read[0].uncond)


def _encode(pair: ModelPair, groups: list[Group]) -> ImageTokens:
    with torch.no_grad():
        return encode_pictures(CPU, torch.float32, OnCPU(), pair, groups, "pad", "average")


def _picture(number: int) -> Image.Image:
    """Each another one."""
    drawn = Image.new("RGB", (_SIDE, _SIDE), "white")
    ImageDraw.Draw(drawn).ellipse(
        (20 + 10 * number, 40, 400, 460), fill=(20 * number % 256, 90, 255 - 20 * number % 256)
    )
    return drawn
