"""What the page says ahead of a job about model files and the loaded checkpoint: the sentence the job itself would say."""

from __future__ import annotations

import re

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import AnyMSError
from lib_anyms.hosts.checkpoint import chosen_unet
from lib_anyms.hosts.webui import model_folders
from lib_anyms.layout.fields import AUTO
from lib_anyms.models.model_files import choose_pair, what_lacks

PREFIX = "checkpoint "
_PLACES = re.compile(r" \(looked in: [^)]*\)")  # where the file goes is told anyway
_AFTER, _AHEAD = "the picture was made", "pictures are made"


def problem(adapter: str | None, encoder: str | None, checkpoint: str | None = None) -> str:
    """What is missing or does not fit for these choices of the page, "" if nothing; files are read as far as their
    headers.

    `checkpoint` is what the page's script asks with: PREFIX and the name that the host shows.
    """
    try:
        unet = chosen_unet((checkpoint or "").removeprefix(PREFIX))
        layers = cross_attention_layers(unet) if unet is not None else ()
        if unet is None or not layers:  # no checkpoint yet, or one of another kind, which is the job's to say
            lacks = what_lacks(model_folders())
            return _short(lacks[0]) if lacks else ""
        choose_pair(model_folders(), unet, layers, adapter or AUTO, encoder or AUTO)
    except AnyMSError as error:
        return _short(error)
    return ""


def _short(error: AnyMSError) -> str:
    """As it is said on the page, where one knows who speaks."""
    told = _PLACES.sub("", str(error)).replace(_AFTER, _AHEAD).removeprefix("AnyMS: ")
    return told[:1].upper() + told[1:]
