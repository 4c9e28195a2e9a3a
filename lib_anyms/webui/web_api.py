"""AnyMS's own addresses below /anyms/v1/ of a WebUI started with --api: what may be asked, and fetched, before a
picture is.

They stand behind the host's own --api-auth, and behind the page's login where there is one. Answers name files, never
folders; only a refusal may. It is asked by the page itself, so it is there without --api too.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict
from secrets import compare_digest
from typing import Any

from fastapi import Body, Depends, HTTPException
from fastapi import Request as Call
from fastapi.responses import PlainTextResponse, Response
from modules import shared
from torch import nn

from lib_anyms import __version__
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.facts import host_facts, loaded_unet
from lib_anyms.hosts.fetching import begin, mirror
from lib_anyms.hosts.webui import card_library, model_folders
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.job.card_making import save_to_library
from lib_anyms.job.request import VERSION
from lib_anyms.job.schema import request_schema
from lib_anyms.job.session import last_refusal, last_report
from lib_anyms.models.downloads import Progress, downloads
from lib_anyms.models.known_files import KNOWN, known_file
from lib_anyms.models.model_family import family_mismatch
from lib_anyms.models.model_files import adapters_in, encoders_in
from lib_anyms.webui import doctor
from lib_anyms.webui.ui import cached_pictures

ROOT = "/anyms/v1"
WHY_NOT = "{what}: the checkpoint has {got}, the adapter is for {expected}"


def register(_demo: Any, app: Any) -> None:
    """on_app_started. Who started the WebUI without an API is given none but what its own page asks."""
    behind = [Depends(guard(app))]
    guarded = {"methods": ["GET"], "dependencies": behind}
    app.add_api_route(f"{ROOT}/refusal", refusal, **guarded)
    if not (getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False)):
        return
    app.add_api_route(f"{ROOT}/version", version, **guarded)
    app.add_api_route(f"{ROOT}/schema", request_schema, **guarded)
    app.add_api_route(f"{ROOT}/models", models, **guarded)
    app.add_api_route(f"{ROOT}/downloads", downloads_told, **guarded)
    app.add_api_route(f"{ROOT}/downloads", download, methods=["POST"], dependencies=behind)
    app.add_api_route(f"{ROOT}/cards", cards_told, **guarded)
    app.add_api_route(f"{ROOT}/cards", save_card, methods=["POST"], dependencies=behind)
    app.add_api_route(f"{ROOT}/pictures/{{name}}", kept_picture, response_class=Response, **guarded)
    app.add_api_route(f"{ROOT}/doctor", doctor_report, response_class=PlainTextResponse, **guarded)


def version() -> dict[str, Any]:
    """This AnyMS, its host, and the version of the requests it reads."""
    host = host_facts()
    return {"anyms": __version__, "request": VERSION, "host": host.name, "host_version": host.version}


def refusal() -> dict[str, str]:
    """Why AnyMS refused the last job, for pages of hosts that do not tell; "" where it did not."""
    return {"sentence": last_refusal()}


def kept_picture(name: str):  # type: ignore[no-untyped-def]  # FastAPI would take it for a model of the answer
    """The reference picture whose hash an infotext has, as PNG. 404: it is not kept, or nothing is."""
    store = cached_pictures.store()
    data = store.find(name) if store else None
    if data is None:
        raise HTTPException(404, "AnyMS: no reference picture of this hash is kept here.")
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, no-store"})


def doctor_report() -> str:
    """A block of text for an issue."""
    return doctor.report(host_facts(), last_report())


def models() -> dict[str, Any]:
    """The adapters and encoders found, and whether each fits what is loaded."""
    unet = loaded_unet()
    adapters, encoders = adapters_in(model_folders()), encoders_in(model_folders())
    return {
        "checkpoint": doctor.unet_facts(unet) if unet is not None else None,
        "adapters": [
            {"file": found.path.name, "kind": found.kind, "tokens": found.tokens, **_fit(unet, found)}
            for found in adapters
        ],
        "encoders": [
            {
                "file": found.path.name,
                "kind": "CLIP vision",
                "hidden_width": found.hidden_width,
                "projection_width": found.projection_width,
                "fits": [each.path.name for each in adapters if found.width_for(each.kind) == each.encoder_width],
            }
            for found in encoders
        ],
    }


def cards_told(search: str = "") -> list[dict[str, Any]]:
    """The library's subject cards; `adapters` are the fingerprints each has tokens for."""
    return [asdict(entry) for entry in card_library().entries(search)]


def save_card(request: dict[str, Any] = Body(embed=True)) -> dict[str, str]:  # noqa: B008  # as FastAPI reads defaults
    """Save the one subject of a request as a card in the library. 422: it cannot be, and why."""
    try:
        return {"file": save_to_library(request, card_library(), model_folders(), loaded_unet())}
    except (Refused, SteppedAside) as reason:
        raise HTTPException(422, str(reason)) from reason


def downloads_told() -> dict[str, Any]:
    """The files that can be fetched, and how far the last download is."""
    found = [
        {
            "name": row.name,
            "folder": row.folder,
            "size": row.size,
            "sha256": row.sha256,
            "licence": row.licence,
            "address": row.address(mirror()),
            "there": any((folder / row.name).is_file() for folder in model_folders()),
        }
        for row in KNOWN
        if row.offered
    ]
    return {"files": found, "progress": _progress(downloads.progress)}


def download(name: str = Body(embed=True)) -> dict[str, Any]:
    """Begin to fetch the file of that name, one of `downloads_told`'s; answers at once. 404: no such file; 409: not
    now.

    No address and no path is taken from the caller.
    """
    file = known_file(name)
    if file is None:
        raise HTTPException(
            404, str(Refused("download_unknown", got=name[:80], expected=", ".join(row.name for row in KNOWN)))
        )
    try:
        return {"progress": _progress(begin(file))}
    except Refused as refusal:
        raise HTTPException(409, str(refusal)) from refusal


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    return None if progress is None else asdict(progress)


def _fit(unet: nn.Module | None, adapter: AdapterCheckpoint) -> dict[str, Any]:
    """`fits` is null while no checkpoint is loaded."""
    if unet is None:
        return {"fits": None, "why_not": "no checkpoint is loaded"}
    problem = family_mismatch(unet, cross_attention_layers(unet), adapter)
    return {"fits": problem is None, "why_not": WHY_NOT.format(**problem) if problem else ""}


def guard(app: Any) -> Callable[[Call], None]:
    """Lets through who may use the host's API, or is logged in to its page; everyone where it asks nobody."""

    def check(call: Call) -> None:
        accounts, open_to_all = _accounts(app)
        if open_to_all or _logged_in(app, call.cookies) or _known(call.headers.get("authorization", ""), accounts):
            return
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    # FastAPI reads annotations in this module's names only where they are no text
    check.__annotations__ = {"call": Call, "return": None}
    return check


def _accounts(app: Any) -> tuple[list[tuple[str, str]], bool]:
    """(name, password) of everyone the host asks for, and whether it asks nobody."""
    given = getattr(shared.cmd_opts, "api_auth", None)
    accounts = (
        [(name, password) for name, _, password in (each.partition(":") for each in given.split(","))] if given else []
    )
    login = getattr(app, "auth", None)
    if isinstance(login, dict):
        accounts += login.items()
    return accounts, not given and not login and getattr(app, "auth_dependency", None) is None


def _logged_in(app: Any, cookies: dict[str, str]) -> bool:
    """Whether a cookie is one that gradio's login has given; what it calls them differs between versions."""
    tokens = getattr(app, "tokens", None) or {} if getattr(app, "auth", None) else {}
    return any(value in tokens for value in cookies.values())


def _known(header: str, accounts: list[tuple[str, str]]) -> bool:
    """Whether an HTTP Basic header names one of the accounts."""
    scheme, _, coded = header.partition(" ")
    try:
        given = base64.b64decode(coded.strip(), validate=True).decode("utf-8") if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return False
    name, found, password = given.partition(":")
    pairs = [(f"{name}:{password}", f"{wanted}:{secret}") for wanted, secret in accounts]
    return bool(found) and any(compare_digest(one.encode(), other.encode()) for one, other in pairs)
