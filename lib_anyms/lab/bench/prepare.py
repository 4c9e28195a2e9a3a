"""The suite "prepare": the cost before the first step, from new images, cached images, cards, and kept keys and values.

The projection to keys and values follows each of the first three; it is measured separately.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import nn

from lib_anyms.cards.library import read_file
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.job.card_making import make_card
from lib_anyms.job.encode_host import CPU, CpuHost
from lib_anyms.job.encoding import SubjectImages, encode_on_cpu
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.job.token_cache import TokenCache
from lib_anyms.lab.bench.memory import watched
from lib_anyms.lab.bench.timing import Result, Times, compare
from lib_anyms.models.model_files import ModelPair
from lib_anyms.runtime import runtime

COUNTS = (1, 7, 12)
COLD, WARM, CARD, PROJECTION = "cold encode", "warm encode", "from card", "K/V projection"
AGAIN = "the next job with the same subjects"
_SIDE = 512


def prepare_results(pair: ModelPair, counts: Sequence[int] = COUNTS, rounds: int = 5) -> Iterator[Result]:
    """Five results for each number of subjects, on the CPU in float32, interleaved; ratios are to the cold encode.

    Times are processor times of all threads: other processes and a slow disk do not change them.
    """
    for count in counts:
        groups: list[SubjectImages] = [(_picture(number),) for number in range(count)]
        with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
            paths = [Path(folder, f"{number}.safetensors") for number in range(count)]
            acts = _acts(pair, groups, paths)
            times: Times = {name: [] for name in acts}
            memory = dict.fromkeys(acts, 0.0)
            for number in range(rounds):
                for name, act in acts.items():
                    if name == CARD and not number:
                        _save_cards(pair, groups, paths)
                    if name == AGAIN:
                        act()  # the first job: another number of subjects, or more acts, may have displaced it
                    seconds, mib = watched(act)
                    times[name].append(seconds)
                    memory[name] = max(memory[name], mib)
        for name in acts:
            yield compare(f"prepare, {name}", count, pair.adapter.tokens, times, name, COLD, memory[name])


def _acts(pair: ModelPair, groups: list[SubjectImages], paths: list[Path]) -> dict[str, Callable[[], object]]:
    """In this order: the first one fills the cache for the second, and for the cards."""

    def cold() -> ImageTokens:
        runtime.of(TokenCache).clear()
        return _encode(pair, groups)

    def projection() -> object:
        return project_key_values(pair.adapter, _read(paths), CPU, torch.float32)

    again = _next_job(pair, groups)
    warm, cards = (lambda: _encode(pair, groups)), (lambda: _read(paths))
    return {COLD: cold, WARM: warm, CARD: cards, PROJECTION: projection, AGAIN: again}


def _next_job(pair: ModelPair, groups: list[SubjectImages]) -> Callable[[], object]:
    """The whole preparation of a job, to keys and values, on one UNet."""
    count = len(groups)
    subjects = []
    for number, images in enumerate(groups):
        box = [number / count, 0, (number + 1) / count, 1]
        subjects.append({"name": f"subject {number}", "box": box, "images": list(images)})
    host, request = _JobHost(), Request.from_json({"subjects": subjects})
    return lambda: prepare(host, pair, request)


class _JobHost(CpuHost):
    """What `prepare` needs of a host."""

    def __init__(self) -> None:
        self._unet = nn.Module()

    def unet(self) -> nn.Module:
        return self._unet

    def dtype(self) -> torch.dtype:
        return torch.float32


def _save_cards(pair: ModelPair, groups: list[SubjectImages], paths: list[Path]) -> None:
    for path, group in zip(paths, groups):
        path.write_bytes(make_card(path.stem, "subject", group, [pair]))


def _read(paths: list[Path]) -> ImageTokens:
    encodings = [read_file(path).encodings[0] for path in paths]
    return ImageTokens(tuple(encoding.tokens for encoding in encodings), encodings[0].uncond)


def _encode(pair: ModelPair, groups: list[SubjectImages]) -> ImageTokens:
    return encode_on_cpu(pair, groups, "pad", "average")


def _picture(number: int) -> Image.Image:
    """A different image for each number."""
    image = Image.new("RGB", (_SIDE, _SIDE), "white")
    colour = (20 * number % 256, 90, 255 - 20 * number % 256)
    ImageDraw.Draw(image).ellipse((20 + 10 * number, 40, 400, 460), fill=colour)
    return image
