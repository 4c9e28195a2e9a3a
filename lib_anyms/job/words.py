"""The subjects' own prompts of one sampling pass, encoded by the host and applied by `engine.local_text`."""

from __future__ import annotations

import torch

from lib_anyms.engine.local_text import LocalText
from lib_anyms.engine.local_text import Texts as LocalTexts
from lib_anyms.hosts.base import Host
from lib_anyms.hosts.prompts import PromptSchedule
from lib_anyms.job.request import Request
from lib_anyms.layout.elsewhere import propose_elsewhere
from lib_anyms.layout.fields import AUTO
from lib_anyms.layout.layout import Layout

Schedules = tuple["PromptSchedule | None", ...]
Texts = dict[tuple[str, bool], PromptSchedule]  # by text, and whether it is a negative one


def encode_texts(host: Host, request: Request, layout: Layout) -> Texts:
    """The local texts of the pass that begins, encoded with its steps. Empty where the request has none.

    layout: the subjects this pass renders.
    """
    if not request.has_words:
        return {}
    texts: Texts = {}
    positive = [*(subject.prompt for subject in layout.subjects), _elsewhere(host, request)]
    for prompts, negative in ((positive, False), ([subject.avoid for subject in layout.subjects], True)):
        distinct = list(dict.fromkeys(filter(None, prompts)))
        schedules = host.encode_prompts(distinct, negative) if distinct else []
        texts.update(zip(((prompt, negative) for prompt in distinct), schedules))
    return texts


def local_text(host: Host, request: Request, layout: Layout, texts: Texts) -> LocalText | None:
    """The local text of the pass that begins; None where the request has none.

    layout: the subjects this pass renders; texts: what is encoded. A text that is not in it stays the host's.
    """
    if not request.has_words:
        return None
    cond = [texts.get((subject.prompt, False)) for subject in layout.subjects]
    cond.append(texts.get((_elsewhere(host, request), False)))
    uncond = [texts.get((subject.avoid, True)) for subject in layout.subjects]

    def at_step() -> tuple[LocalTexts, LocalTexts]:
        step = host.schedule_step()
        return _at(tuple(cond), step), _at((*uncond, None), step)

    return LocalText(layout, at_step, request.words)


def _elsewhere(host: Host, request: Request) -> str:
    """The text outside all boxes."""
    if request.elsewhere != AUTO:
        return request.elsewhere
    names = [subject.name for subject in request.layout.subjects] if request.layout else []
    return propose_elsewhere(host.prompt(), names)


def _at(schedules: Schedules, step: int) -> LocalTexts:
    contexts: list[torch.Tensor | None] = []
    for schedule in schedules:
        contexts.append(None if schedule is None else schedule.at(step))
    return LocalTexts(tuple(contexts[:-1]), contexts[-1])
