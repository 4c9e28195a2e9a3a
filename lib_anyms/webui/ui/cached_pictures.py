"""Where and whether this WebUI keeps reference pictures: the host's settings and flags decide."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

from modules import paths, shared

from lib_anyms.job.request import Request
from lib_anyms.layout.fields import AUTO
from lib_anyms.webui.picture_cache import PictureStore
from lib_anyms.webui.ui import settings

log = logging.getLogger("anyms")
FOLDER = ("cache", "anyms", "pictures")  # below the host's data
LOGINS = ("gradio_auth", "gradio_auth_path")  # of the page
HERE_ONLY = (None, "", "127.0.0.1", "localhost", "::1")


def store() -> PictureStore | None:
    """The store; None where nothing is to be kept."""
    chosen = settings.keeps()
    if chosen == settings.NEVER or (chosen == AUTO and _open_to_strangers()):
        return None
    return _store()


def empty() -> None:
    """Remove every kept picture."""
    _store().empty()


def settings_changed() -> None:
    """The host's callback: "never" also means that nothing stays."""
    if settings.keeps() == settings.NEVER:
        empty()


def remember(request: Request) -> Request:
    """Keep the pictures of a request that is to be generated, whose infotext will name them -> that request."""
    kept = store() if request.active and settings.writes_infotext() else None
    try:
        for picture in [picture for group in request.pictures for picture in group]:
            if kept is not None:
                kept.keep(picture)
    except OSError as error:
        log.warning("AnyMS: a reference picture could not be kept (%s), so its infotext will not bring it back.", error)
    return request


def address(name: str) -> str | None:
    """The kept picture of the hash `name` as a data: address, as a slot holds it; None: there is none."""
    kept = store()
    data = kept.find(name) if kept else None
    return None if data is None else f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _store() -> PictureStore:
    return PictureStore(Path(paths.data_path).joinpath(*FOLDER), settings.kept_bytes())


def _open_to_strangers() -> bool:
    """Whether others than this computer's user may open the page without a login."""
    flags = shared.cmd_opts
    told = {
        name: bool(getattr(flags, name, None)) for name in ("listen", "share", "ngrok", *LOGINS, "nowebui", "api_auth")
    }
    reachable = told["listen"] or told["share"] or told["ngrok"] or getattr(flags, "server_name", None) not in HERE_ONLY
    login = told["api_auth"] if told["nowebui"] else any(told[name] for name in LOGINS)
    return reachable and not login
