"""The suite "prepare": what it takes before the first step, from pictures never seen, from pictures seen before, and from cards.

The projection to keys and values follows each of these, and is told by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from lib_anyms import encoding
from lib_anyms.card_making import make_card
from lib_anyms.cards.library import read_file
from lib_anyms.encoding import CPU, OnCPU, encode_pictures
from lib_anyms.ip_adapter.key_values import project_key_values
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.model_files import ModelPair
from lib_anyms.standalone.bench.memory import peak_mib
from lib_anyms.standalone.bench.timing import Row, interleaved, row

COUNTS = (1, 7, 12)
COLD, WARM, CARD, PROJECTION = "cold encode", "warm encode", "from card", "K/V projection"
_SIDE = 512
Group = tuple[Image.Image, ...]


def prepare_rows(pair: ModelPair, counts: Sequence[int] = COUNTS, rounds: int = 5) -> Iterator[Row]:
    """Four rows for each number of subjects, on the CPU in float32; ratios to the cold encode."""
    for count in counts:
        groups: list[Group] = [(_picture(number),) for number in range(count)]
        with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
            paths = [Path(folder, f"{number}.safetensors") for number in range(count)]
            for path, group in zip(paths, groups):
                path.write_bytes(make_card(path.stem, "subject", group, [pair]))
            acts = _acts(pair, groups, paths)
            memory = {name: peak_mib(act) for name, act in acts.items()}
            times = interleaved(acts, rounds)
        for name in acts:
            yield row(f"prepare, {name}", count, pair.adapter.tokens, times, name, COLD, memory[name])


def _acts(pair: ModelPair, groups: list[Group], paths: list[Path]) -> dict[str, Callable[[], object]]:
    """In this order the first one leaves what the second finds; when they take turns, one of the uncounted rounds does."""

    def warm() -> ImageTokens:
        with torch.no_grad():
            return encode_pictures(CPU, torch.float32, OnCPU(), pair, groups, "pad", "average")

    def cold() -> ImageTokens:
        encoding.kept.clear()
        return warm()

    def card() -> ImageTokens:
        read = [read_file(path).encodings[0] for path in paths]
        return ImageTokens(tuple(each.tokens for each in read), read[0].nobody)

    made = card()
    return {COLD: cold, WARM: warm, CARD: card, PROJECTION: lambda: project_key_values(pair.adapter, made, CPU, torch.float32)}


def _picture(number: int) -> Image.Image:
    """Each another one."""
    drawn = Image.new("RGB", (_SIDE, _SIDE), "white")
    ImageDraw.Draw(drawn).ellipse((20 + 10 * number, 40, 400, 460), fill=(20 * number % 256, 90, 255 - 20 * number % 256))
    return drawn
