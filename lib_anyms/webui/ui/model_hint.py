"""Warn on the page before a job: missing model files, or an adapter that does not fit the checkpoint."""

from __future__ import annotations

import json
import re

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import AnyMSError
from lib_anyms.hosts.checkpoint import chosen_unet
from lib_anyms.hosts.webui import model_folders
from lib_anyms.layout.fields import AUTO
from lib_anyms.models.model_files import choose_pair, find_missing, missing_files

PREFIX = "checkpoint "
_PLACES = re.compile(r" \(looked in: [^)]*\)")  # the sentence names the target folder anyway
_AFTER, _BEFORE = "the image was made", "images are made"  # in the sentence after a job, and before it


def problem(adapter: str | None, encoder: str | None, checkpoint: str | None = None) -> str:
    """The sentence a job with these choices would end with, "" if none."""
    return state(adapter, encoder, checkpoint)[0]


def shown(adapter: str | None, encoder: str | None, checkpoint: str | None = None) -> tuple[str, str, str]:
    """The values of the page's hidden fields: those of `state`, and JSON with number and size of the missing files."""
    missing = missing_files(model_folders())
    size = sum(file.size for file in missing) / 1e9
    lacking = json.dumps({"count": len(missing), "size": f"{size:.1f} GB"}) if missing else ""
    return (*state(adapter, encoder, checkpoint), lacking)


def state(adapter: str | None, encoder: str | None, checkpoint: str | None = None) -> tuple[str, str]:
    """(The sentence a job with these choices would end with, or "", the name of its adapter, or "").

    Reads headers of files only. `checkpoint`: PREFIX and the name that the host shows, as the page's script sends it.
    """
    try:
        name = (checkpoint or "").removeprefix(PREFIX).strip()
        unet = chosen_unet(name)
        layers = cross_attention_layers(unet) if unet is not None else ()
        if unet is None or not layers:  # no checkpoint yet, or of another kind, which the job reports
            missing = find_missing(model_folders())
            return _short(missing[0]) if missing else "", ""
        pair = choose_pair(model_folders(), unet, layers, adapter or AUTO, encoder or AUTO, checkpoint=name)
    except AnyMSError as error:
        return _short(error), ""
    return "", pair.adapter.path.stem


def _short(error: AnyMSError) -> str:
    """Without the prefix and the searched folders, in the present tense."""
    sentence = _PLACES.sub("", str(error)).replace(_AFTER, _BEFORE).removeprefix("AnyMS: ")
    return sentence[:1].upper() + sentence[1:]
