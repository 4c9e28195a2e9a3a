"""The subjects' own prompts of one sampling pass, encoded by the host and applied by `engine.local_text`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_anyms.engine.local_text import LocalText, Texts
from lib_anyms.hosts.base import Host
from lib_anyms.hosts.prompts import PromptSchedule
from lib_anyms.job.request import Request
from lib_anyms.layout.elsewhere import propose_elsewhere
from lib_anyms.layout.fields import AUTO
from lib_anyms.layout.layout import Layout

Schedules = tuple[PromptSchedule | None, ...]


def local_text(host: Host, request: Request, layout: Layout) -> LocalText | None:
    """The local text of the pass that begins; None where the request has none.

    layout: the subjects this pass renders. Encodes with the steps of this pass, so each pass needs a new one.
    """
    if not request.has_words:
        return None
    names = [subject.name for subject in request.layout.subjects] if request.layout else []
    elsewhere = propose_elsewhere(host.prompt(), names) if request.elsewhere == AUTO else request.elsewhere
    cond = _encode(host, [*(subject.prompt for subject in layout.subjects), elsewhere], negative=False)
    uncond = _encode(host, [*(subject.avoid for subject in layout.subjects), ""], negative=True)

    def texts() -> tuple[Texts, Texts]:
        step = host.schedule_step()
        return _at(cond, step), _at(uncond, step)

    return LocalText(layout, texts, request.words)


def _encode(host: Host, prompts: Sequence[str], negative: bool) -> Schedules:
    """A schedule for each prompt; None for an empty one: the host's text stays there. Encodes equal prompts once."""
    distinct = list(dict.fromkeys(prompt for prompt in prompts if prompt))
    schedules = dict(zip(distinct, host.encode_prompts(distinct, negative))) if distinct else {}
    return tuple(schedules.get(prompt) for prompt in prompts)


def _at(schedules: Schedules, step: int) -> Texts:
    contexts: list[torch.Tensor | None] = []
    for schedule in schedules:
        contexts.append(None if schedule is None else schedule.at(step))
    return Texts(tuple(contexts[:-1]), contexts[-1])
