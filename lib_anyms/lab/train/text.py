"""Train the two text encoders on captions alone: each word encodes which figures and background were named so far.

In training they hold only the tokens of CLIP's vocabulary that captions use. A file holds all 49408: the embedding of a
word that the world does not know is zero, so the word says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lib_anyms.lab.train.trainer import Learner, State, TrainContext
from lib_anyms.lab.world.captions import ANYTHING, NAMES, caption, vocabulary, words_of
from lib_anyms.lab.world.scene import BACKGROUNDS
from lib_anyms.standalone.pipeline import END, PADS, START, clip_merges, clip_vocabulary
from lib_anyms.standalone.single_file import text_config
from lib_anyms.standalone.structure import Structure

LENGTH = 77
THINGS = (*NAMES, *BACKGROUNDS)  # all that a caption can name
_COUNTS = (0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 6)  # of names, equally likely
_SCALED = ("token_embedding", "position_embedding", "out_proj", "mlp.fc2")  # write into the residual stream


class Words:
    """Compact numbers for the words of captions, in the order of CLIP's vocabulary: the end token stays the last."""

    def __init__(self) -> None:
        numbers = clip_vocabulary(clip_merges())
        known = {word: numbers[f"{word}</w>"] for word in vocabulary()}
        marks = {mark: numbers[mark] for mark in (START, END)} | {"!": numbers[PADS["tokenizer_2"]]}
        self.clip_numbers = sorted({*known.values(), *marks.values()})
        index = {number: place for place, number in enumerate(self.clip_numbers)}
        self._indices = {word: index[number] for word, number in {**known, **marks}.items()}
        self.pads = tuple(self._indices[pad] for pad in PADS.values())

    def __len__(self) -> int:
        return len(self.clip_numbers)

    def tokens(self, captions: Sequence[str], pad: int) -> torch.Tensor:
        """(captions, 77), compact numbers; unknown words are left out."""
        tokens = torch.full((len(captions), LENGTH), pad)
        for line, text in zip(tokens, captions):
            known = [self._indices[word] for word in words_of(text) if word in self._indices][: LENGTH - 2]
            line[: len(known) + 2] = torch.tensor([self._indices[START], *known, self._indices[END]])
        return tokens


class TextPair(nn.Module):
    """Both encoders, read as a pipeline reads them."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.words = Words()
        sizes = {"vocab_size": len(self.words)}
        self.first = CLIPTextModel(CLIPTextConfig(**{**text_config(structure.text_1), **sizes}))
        self.second = CLIPTextModelWithProjection(CLIPTextConfig(**{**text_config(structure.text_2), **sizes}))
        for encoder in (self.first, self.second):
            nn.init.normal_(encoder.get_input_embeddings().weight, std=0.3)  # CLIP's 0.02 takes long to grow

    def forward(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """context (captions, 77, both widths): the penultimate states; pooled (captions, width of the second)."""
        device = self.first.get_input_embeddings().weight.device
        states = []
        for encoder, pad in zip((self.first, self.second), self.words.pads):
            output = encoder(self.words.tokens(captions, pad).to(device), output_hidden_states=True)
            states.append(output.hidden_states[-2])
        return torch.cat(states, -1), output.text_embeds

    @torch.no_grad()
    def normalise(self, captions: Sequence[str]) -> None:
        """Scale context and pooled state to a mean square of 1.

        A state is a sum of writes into the residual stream, and every reader has a norm: so scale the writes.
        """
        context, pooled = self(captions)
        parts = context.split([encoder.config.hidden_size for encoder in (self.first, self.second)], -1)
        for encoder, part in zip((self.first, self.second), parts):
            factor = part.square().mean().rsqrt()
            for name, weight in encoder.named_parameters():
                if any(kind in name for kind in _SCALED):
                    weight.mul_(factor)
        self.second.text_projection.weight.mul_(pooled.square().mean().rsqrt())

    def whole_state(self, encoder: nn.Module) -> State:
        """An encoder's weights with the token embedding of all 49408 tokens."""
        state: State = encoder.state_dict()
        name = next(name for name in state if name.endswith("token_embedding.weight"))
        whole = torch.zeros(self.words.clip_numbers[-1] + 1, state[name].shape[1])
        whole[self.words.clip_numbers] = state[name].cpu().float()
        return {**state, name: whole}

    def load_whole_states(self, *states: State) -> None:
        """The inverse: load both encoders from states with the token embedding of all tokens."""
        for encoder, state in zip((self.first, self.second), states):
            name = next(name for name in state if name.endswith("token_embedding.weight"))
            encoder.load_state_dict({**state, name: state[name][self.words.clip_numbers]})


class CachedText:
    """(context, pooled) of captions by a frozen TextPair. Each caption is encoded once and cached in half precision."""

    def __init__(self, pair: TextPair) -> None:
        self._pair = pair
        self._cache: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        new = [text for text in dict.fromkeys(captions) if text not in self._cache]
        if new:
            for text, context, pooled in zip(new, *self._pair(new)):
                self._cache[text] = context.half(), pooled.half()
        contexts, pooleds = zip(*(self._cache[text] for text in captions))
        return torch.stack(contexts).float(), torch.stack(pooleds).float()


class TextLearner(Learner):
    """Trains a TextPair with linear heads (not exported): what is named up to each word, and in the whole caption."""

    def __init__(self, structure: Structure, seed: int, batch: int = 64) -> None:
        pair = TextPair(structure)
        width = pair.first.config.hidden_size + pair.second.config.hidden_size
        self.pair, self._random, self._batch = pair, Random(seed), batch
        heads = {
            "word": nn.Linear(width, len(THINGS)),
            "so_far": nn.Linear(width, len(THINGS)),
            "whole": nn.Linear(pair.second.config.projection_dim, len(THINGS)),
        }
        self.module = nn.ModuleDict({"pair": pair, "heads": nn.ModuleDict(heads)})

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        captions = [draw_caption(self._random) for _ in range(self._batch)]
        loss, right = self._loss(captions)
        return loss, {"word": right}, len(captions)

    def _loss(self, captions: Sequence[str]) -> tuple[torch.Tensor, float]:
        """-> loss, share of the naming words that are classified right."""
        context, pooled = self.pair(captions)
        heads = self.module["heads"]
        word = torch.full(context.shape[:2], -1)
        so_far = torch.zeros(*context.shape[:2], len(THINGS))
        for number, text in enumerate(captions):
            for place, one in enumerate(words_of(text), 1):
                if one in THINGS:
                    word[number, place] = THINGS.index(one)
                    so_far[number, place:, THINGS.index(one)] = 1
        word, so_far = word.to(context.device), so_far.to(context.device)
        named = word >= 0
        logits = heads["word"](context[named])
        right = (logits.argmax(1) == word[named]).float().mean().item()
        loss = F.cross_entropy(logits, word[named])
        loss = loss + F.binary_cross_entropy_with_logits(heads["so_far"](context), so_far)
        return loss + F.binary_cross_entropy_with_logits(heads["whole"](pooled), so_far[:, -1]), right

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        random = Random(20_000_003)
        loss, right = self._loss([draw_caption(random) for _ in range(128)])
        return {"word": right, "loss": loss.item()}

    def finish(self) -> None:
        random = Random(20_000_004)
        self.pair.normalise([draw_caption(random) for _ in range(256)])


def draw_caption(random: Random) -> str:
    """A caption of up to six figures on a background, or of a background alone."""
    names = [random.choice(NAMES) for _ in range(random.choice(_COUNTS))]
    return caption(names, random.choice(BACKGROUNDS), random) or f"a {ANYTHING}"
