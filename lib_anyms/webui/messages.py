"""What a job shows on the page, in the infotext and in the log. The host's job `p` is duck-typed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lib_anyms.errors import Noted, SteppedAside
from lib_anyms.job import infotext

log = logging.getLogger("anyms")


def show_reasons(p: Any, reasons: Sequence[SteppedAside], acted: bool = False) -> None:
    """Show on the page, in the infotext and in the log why a pass or an image is made without AnyMS.

    acted: another pass of the image had AnyMS. Then its infotext keeps the request.
    """
    if not reasons:
        return
    if not acted:
        p.extra_generation_params.pop(infotext.NAME, None)
    sentences = [reason.of_pass if acted else str(reason) for reason in reasons]
    p.extra_generation_params[infotext.SKIPPED] = " ".join(dict.fromkeys(sentences))
    for sentence, reason in zip(sentences, reasons):
        _comment(p, sentence, str(reason))


def show_note(p: Any, note: Noted) -> None:
    """Show a note on the page and in the log."""
    _comment(p, str(note))


def _comment(p: Any, sentence: str, former: str = "") -> None:
    """Show `sentence` on the page and in the log, in place of `former`; scripts run one job again for each tile."""
    comments = getattr(p, "comments", ())
    if sentence in comments:
        return
    if isinstance(comments, dict):
        comments.pop(former, None)
    p.comment(sentence)
    log.warning(sentence)
