"""The picture cache of this WebUI: the host's settings and flags decide whether and where it keeps pictures."""

from __future__ import annotations

import base64
import logging
import threading
from pathlib import Path

from modules import paths, shared

from lib_anyms.job.request import Request
from lib_anyms.layout.fields import AUTO
from lib_anyms.webui.picture_cache import PictureStore
from lib_anyms.webui.ui import settings

log = logging.getLogger("anyms")
FOLDER = ("cache", "anyms", "pictures")  # below the host's data
REACHABLE = ("listen", "share", "ngrok")  # flags that open the page to other computers
LOGINS = ("gradio_auth", "gradio_auth_path")  # of the page
HERE_ONLY = (None, "", "127.0.0.1", "localhost", "::1")


def store() -> PictureStore | None:
    """The cache; None if pictures must not be kept."""
    choice = settings.keeps()
    if choice == settings.NEVER or (choice == AUTO and _open_to_strangers()):
        return None
    return _store()


def list_early(*_: object) -> None:
    """on_app_started: list the cache's folder in a thread, before the first job needs it."""
    cache = store()
    if cache is not None:
        threading.Thread(target=cache.list_early, daemon=True).start()


def empty() -> None:
    """Remove every cached picture."""
    _store().empty()


def settings_changed() -> None:
    """Called by the host after a change: "never" also removes the cached pictures."""
    if settings.keeps() == settings.NEVER:
        empty()


def remember(request: Request) -> Request:
    """Cache the pictures of the request of a job, since its infotext will name them -> the same request."""
    cache = store() if request.active and settings.writes_infotext() else None
    if cache is None:
        return request
    try:
        for pictures in request.pictures:
            for picture in pictures:
                cache.keep(picture)
        for subject in request.layout.subjects if request.layout else ():
            if subject.silhouette:
                cache.keep(subject.silhouette.picture())
    except OSError as error:
        log.warning(
            "AnyMS: a reference picture could not be kept (%s). A pasted infotext will not bring it back.", error
        )
    return request


def address(name: str) -> str | None:
    """The cached picture with the hash `name` as a data: address for a slot; None if it is absent."""
    cache = store()
    data = cache.find(name) if cache else None
    return None if data is None else f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _store() -> PictureStore:
    return PictureStore(Path(paths.data_path).joinpath(*FOLDER), settings.kept_bytes())


def _open_to_strangers() -> bool:
    """Whether people on other computers may open the page without a login."""
    reachable = _has_flag(*REACHABLE) or getattr(shared.cmd_opts, "server_name", None) not in HERE_ONLY
    login = _has_flag("api_auth") if _has_flag("nowebui") else _has_flag(*LOGINS)
    return reachable and not login


def _has_flag(*names: str) -> bool:
    return any(getattr(shared.cmd_opts, name, None) for name in names)
