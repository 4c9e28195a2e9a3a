"""The two text encoders, trained on captions alone: each word knows what has been told of its sprite, the whole what is there.

While training they hold only the rows of CLIP's vocabulary that captions use. A file holds all 49408: a word the world does not
know has a row of zeros and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lib_anyms.standalone.pipeline import END, PADS, START, clip_merges, clip_vocabulary
from lib_anyms.standalone.single_file import text_config
from lib_anyms.standalone.sprites.captions import NUMBERS, Told, read, told_along, vocabulary, words_of
from lib_anyms.standalone.sprites.identity import COLOURS, PATTERNS, SHAPES
from lib_anyms.standalone.sprites.scene import ACTIONS, BACKGROUNDS, SIZES
from lib_anyms.standalone.sprites.training import Batch, Learner, Where
from lib_anyms.standalone.structure import Structure

LENGTH = 77
TOLD = {"shape": SHAPES, "body": COLOURS, "second": COLOURS, "pattern": PATTERNS, "action": ACTIONS, "size": SIZES}
_NOT_TOLD = -100  # what cross_entropy leaves out
_SETS = 64  # width of the embedding of what a caption tells


class Words:
    """The words of captions, numbered compactly in the order of their numbers in CLIP's vocabulary, where the end is the last."""

    def __init__(self) -> None:
        numbers = clip_vocabulary(clip_merges())
        known = {word: numbers[f"{word}</w>"] for word in vocabulary()}
        marks = {mark: numbers[mark] for mark in (START, END)} | {"!": numbers[PADS["tokenizer_2"]]}
        self.clip_numbers = sorted({*known.values(), *marks.values()})
        place = {number: i for i, number in enumerate(self.clip_numbers)}
        self._places = {word: place[number] for word, number in {**known, **marks}.items()}
        self.pads = tuple(self._places[pad] for pad in PADS.values())

    def __len__(self) -> int:
        return len(self.clip_numbers)

    def tokens(self, captions: Sequence[str], pad: int) -> torch.Tensor:
        """(captions, 77), compact numbers; words that the world does not know are left out."""
        rows = torch.full((len(captions), LENGTH), pad)
        for row, text in zip(rows, captions):
            known = [self._places[word] for word in words_of(text) if word in self._places][: LENGTH - 2]
            row[: len(known) + 2] = torch.tensor([self._places[START], *known, self._places[END]])
        return rows


class TextPair(nn.Module):
    """Both encoders as a pipeline reads them."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.words = Words()
        sizes = {"vocab_size": len(self.words)}
        self.first = CLIPTextModel(CLIPTextConfig(**{**text_config(structure.text_1), **sizes}))
        self.second = CLIPTextModelWithProjection(CLIPTextConfig(**{**text_config(structure.text_2), **sizes}))
        for encoder in (self.first, self.second):
            nn.init.normal_(encoder.get_input_embeddings().weight, std=0.3)  # CLIP's 0.02 would take long to grow

    def forward(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """context (captions, 77, both widths): the penultimate states; pooled (captions, width of the second)."""
        device = self.first.get_input_embeddings().weight.device
        states = []
        for encoder, pad in zip((self.first, self.second), self.words.pads):
            output = encoder(self.words.tokens(captions, pad).to(device), output_hidden_states=True)
            states.append(output.hidden_states[-2])
        return torch.cat(states, -1), output.text_embeds

    @torch.no_grad()
    def to_strength(self, captions: Sequence[str]) -> None:
        """Scale what the UNet will see to a mean square of 1. A state is a sum of what is written to it, read through norms."""
        context, pooled = self(captions)
        parts = context.split([encoder.config.hidden_size for encoder in (self.first, self.second)], -1)
        for encoder, part in zip((self.first, self.second), parts):
            factor = part.square().mean().rsqrt()
            for name, weight in encoder.named_parameters():
                if any(run in name for run in ("token_embedding", "position_embedding", "out_proj", "mlp.fc2")):
                    weight.mul_(factor)
        self.second.text_projection.weight.mul_(pooled.square().mean().rsqrt())

    def whole_vocabulary(self, encoder: nn.Module) -> torch.Tensor:
        """The token embedding of all 49408 tokens, (49408, width)."""
        rows = encoder.get_input_embeddings().weight.detach()  # type: ignore[operator]
        whole = torch.zeros(self.words.clip_numbers[-1] + 1, rows.shape[1])
        whole[self.words.clip_numbers] = rows.cpu().float()
        return whole


class _Sets(nn.Module):
    """What a caption tells as a point: a sum over its sprites, each a function of all that is told of it together."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.ModuleDict({name: nn.Embedding(len(words) + 1, _SETS) for name, words in TOLD.items()})
        self.background, self.count = nn.Embedding(len(BACKGROUNDS) + 1, _SETS), nn.Embedding(len(NUMBERS) + 1, _SETS)
        self.sprite = nn.Sequential(nn.Linear(_SETS, 2 * _SETS), nn.GELU(), nn.Linear(2 * _SETS, _SETS))
        self.out = nn.Sequential(nn.LayerNorm(_SETS), nn.Linear(_SETS, _SETS))

    def forward(self, told: Sequence[Told]) -> torch.Tensor:
        device = self.background.weight.device
        owners = torch.tensor([i for i, one in enumerate(told) for _ in one.subjects], device=device, dtype=torch.long)
        subjects = [subject for one in told for subject in one.subjects]
        grounds = [_place(BACKGROUNDS, one.background) for one in told]
        points = self.background(torch.tensor(grounds, device=device))
        points = points + self.count(torch.tensor([one.count for one in told], device=device))
        if subjects:
            kinds = [[_place(words, subject.get(name, "")) for subject in subjects] for name, words in TOLD.items()]
            sprites = sum(self.values[name](torch.tensor(places, device=device)) for name, places in zip(TOLD, kinds))
            points = points.index_add(0, owners, self.sprite(sprites))
        return self.out(points)


class TextLearner(Learner):
    """Trains a TextPair with heads that are thrown away afterwards."""

    def __init__(self, pair: TextPair) -> None:
        width = pair.first.config.hidden_size + pair.second.config.hidden_size
        pooled = pair.second.config.projection_dim
        self.pair = pair
        self.module = nn.ModuleDict(
            {
                "pair": pair,
                "heads": nn.ModuleDict({name: nn.Linear(width, len(words)) for name, words in TOLD.items()}),
                "sets": _Sets(),
                "whole": nn.Linear(pooled, _SETS),
                "end": nn.Linear(width, _SETS),
            }
        )
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.module.register_parameter("sharpness", self.sharpness)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        captions: list[str] = batch["captions"]
        context, pooled = self.pair(captions)
        binding, right = self._binding(captions, context)
        told = [read(text) for text in captions]
        points = F.normalize(self.module["sets"](told), dim=-1)
        ends = torch.tensor([len(words_of(text)) + 1 for text in captions], device=context.device)
        end = self.module["end"](context[torch.arange(len(captions), device=context.device), ends])
        same = _same(told).to(context.device)
        views = (self.module["whole"](pooled), end)
        contrast = torch.stack([self._contrast(F.normalize(view, dim=-1), points, same) for view in views]).sum()
        return binding + contrast, {"binding": binding.item(), "word": right, "contrast": contrast.item() / 2}

    def _binding(self, captions: Sequence[str], context: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Each word of a sprite's phrase tells what has been said of the sprite -> loss, share of it that is right."""
        losses, right, asked = [], 0.0, 0
        targets = {name: torch.full((len(captions), LENGTH), _NOT_TOLD) for name in TOLD}
        for row, text in enumerate(captions):
            for place, told in enumerate(told_along(text), 1):
                for name, word in told.items():
                    targets[name][row, place] = _place(TOLD[name], word)
        for name, head in self.module["heads"].items():
            wanted = targets[name].to(context.device)
            here = wanted != _NOT_TOLD
            if here.any():
                answer = head(context[here])
                losses.append(F.cross_entropy(answer, wanted[here]))
                right += (answer.argmax(1) == wanted[here]).sum().item()
                asked += int(here.sum())
        return torch.stack(losses).mean(), right / max(1, asked)

    def _contrast(self, view: torch.Tensor, points: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
        """InfoNCE both ways; captions that tell the same are no negatives of each other."""
        scores = (view @ points.T) * self.sharpness.exp().clamp(max=50)
        scores = scores.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool, device=same.device), -1e4)
        wanted = torch.arange(len(scores), device=scores.device)
        return (F.cross_entropy(scores, wanted) + F.cross_entropy(scores.T, wanted)) / 2

    @torch.no_grad()
    def probe(self, where: Where) -> dict[str, float]:
        from lib_anyms.standalone.sprites.data import Texts

        batch = Texts()(20_000_003, 128)
        _, facts = self.loss(batch)
        return {"word": facts["word"], "contrast": facts["contrast"]}

    def finish(self) -> None:
        from lib_anyms.standalone.sprites.data import Texts

        self.pair.to_strength(Texts()(20_000_004, 256)["captions"])


def text_pair(structure: Structure, weights: dict[str, torch.Tensor]) -> TextPair:
    """The trained encoders out of a text stage's weights, frozen."""
    pair = TextPair(structure)
    pair.load_state_dict({name.removeprefix("pair."): value for name, value in weights.items() if name.startswith("pair.")})
    return pair.requires_grad_(False).eval()


def _place(words: Sequence[str], word: str) -> int:
    """Where the word stands; one after the last for none."""
    return words.index(word) if word in words else len(words)


def _same(told: Sequence[Told]) -> torch.Tensor:
    """(n, n): which captions tell the same, in whatever order and words."""
    keys: list[Any] = [(one.background, one.count, sorted(str(sorted(s.items())) for s in one.subjects)) for one in told]
    return torch.tensor([[a == b for b in keys] for a in keys])
