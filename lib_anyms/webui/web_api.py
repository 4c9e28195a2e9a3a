"""AnyMS's addresses below /anyms/v1/ in a WebUI: versions, models, cards, downloads, pictures, the doctor's report.

They exist only with --api, except `refusal`, which the page itself calls. Access follows the host's --api-auth and the
login of its page. Answers contain file names, never folders; only the sentence of a refusal may name a folder.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from secrets import compare_digest
from typing import Any
from urllib.parse import urlsplit

from fastapi import Body, Depends, HTTPException
from fastapi import Request as Call
from fastapi.responses import PlainTextResponse, Response
from modules import shared
from torch import nn

from lib_anyms import __version__
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.facts import host_facts, loaded_checkpoint, loaded_unet
from lib_anyms.hosts.fetching import begin, mirror
from lib_anyms.hosts.webui import card_library, model_folders
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.encoder import EncoderCheckpoint
from lib_anyms.job import infotext
from lib_anyms.job.card_making import save_to_library
from lib_anyms.job.live_sessions import last_refusal, last_report
from lib_anyms.job.request import VERSION
from lib_anyms.job.schema import request_schema
from lib_anyms.layout.layout import Layout
from lib_anyms.layout.positions import write_positions
from lib_anyms.models.downloads import Progress, downloads
from lib_anyms.models.known_files import KNOWN, KnownFile, known_file
from lib_anyms.models.model_family import family_mismatch
from lib_anyms.models.model_files import adapters_in, encoders_in
from lib_anyms.webui import doctor, update_check
from lib_anyms.webui.ui import cached_pictures

ROOT = "/anyms/v1"
FOREIGN = "AnyMS: the request is refused (got {got}, expected {expected}). Send JSON, from a program or this page."
WHY_NOT = "{what}: the checkpoint has {got}, the adapter is for {expected}"


def register(_demo: Any, app: Any) -> None:
    """on_app_started: add the addresses. Without --api only the one that the page calls."""
    protected = [Depends(guard(app))]
    get = {"methods": ["GET"], "dependencies": protected}
    post = {"methods": ["POST"], "dependencies": protected}
    app.add_api_route(f"{ROOT}/refusal", refusal, **get)
    if not (getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False)):
        return
    app.add_api_route(f"{ROOT}/version", version, **get)
    app.add_api_route(f"{ROOT}/schema", request_schema, **get)
    app.add_api_route(f"{ROOT}/models", models, **get)
    app.add_api_route(f"{ROOT}/downloads", list_downloads, **get)
    app.add_api_route(f"{ROOT}/downloads", download, **post)
    app.add_api_route(f"{ROOT}/cards", list_cards, **get)
    app.add_api_route(f"{ROOT}/cards", save_card, **post)
    app.add_api_route(f"{ROOT}/positions", positions, **post)
    app.add_api_route(f"{ROOT}/infotext", request_of_infotext, **post)
    app.add_api_route(f"{ROOT}/pictures/{{name}}", kept_picture, response_class=Response, **get)
    app.add_api_route(f"{ROOT}/doctor", doctor_report, response_class=PlainTextResponse, **get)


def version() -> dict[str, Any]:
    """This AnyMS and the stamp of its sources, the host, and the version of the requests it reads."""
    host = host_facts()
    return {
        "anyms": __version__,
        "stamp": update_check.SHORT,
        "request": VERSION,
        "host": host.name,
        "host_version": host.version,
    }


def refusal() -> dict[str, str]:
    """Why AnyMS refused the last job, "" if it did not: some hosts do not show the error on their page."""
    return {"sentence": last_refusal()}


def kept_picture(name: str):  # type: ignore[no-untyped-def]  # FastAPI would take it for a model of the response
    """The cached reference picture with this hash of an infotext, as PNG. 404: it is not cached."""
    store = cached_pictures.store()
    data = store.find(name) if store else None
    if data is None:
        raise HTTPException(404, "AnyMS: no reference picture with this hash is kept here.")
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, no-store"})


def doctor_report() -> str:
    """A block of text for an issue."""
    return doctor.report(host_facts(), last_report())


def models() -> dict[str, Any]:
    """The adapters and encoders in the folders, and whether each fits what is loaded."""
    unet = loaded_unet()
    adapters, encoders = adapters_in(model_folders()), encoders_in(model_folders())
    return {
        "checkpoint": doctor.unet_facts(unet) if unet is not None else None,
        "adapters": [_adapter_entry(unet, adapter) for adapter in adapters],
        "encoders": [_encoder_entry(encoder, adapters) for encoder in encoders],
    }


def list_cards(search: str = "") -> list[dict[str, Any]]:
    """The subject cards of the library; `adapters` are the fingerprints each has tokens for."""
    return [asdict(entry) for entry in card_library().entries(search)]


def save_card(request: dict[str, Any] = Body(embed=True)) -> dict[str, str]:  # noqa: B008  # as FastAPI reads defaults
    """Save the one subject of a request as a card in the library. 422: it cannot be saved, and why."""
    try:
        return {"file": save_to_library(request, card_library(), model_folders(), loaded_unet(), loaded_checkpoint())}
    except (Refused, SteppedAside) as reason:
        sentence = str(reason).replace("the image was made without AnyMS", "no card was saved")
        raise HTTPException(422, sentence) from reason


def positions(
    prompt: str = Body(embed=True),
    layout: dict[str, Any] = Body(embed=True),  # noqa: B008  # as FastAPI reads defaults
) -> dict[str, str]:
    """A main prompt with the position of each subject of a layout after its name. 422: no layout, and why."""
    try:
        return {"prompt": write_positions(prompt, Layout.from_json(layout).subjects)}
    except Refused as refusal:
        raise HTTPException(422, str(refusal)) from refusal


def request_of_infotext(parameters: str = Body(embed=True)) -> dict[str, Any]:
    """The request in an image's infotext, with hashes in place of pictures. 422: why it has none."""
    try:
        entries = infotext.entries(parameters)
        if infotext.NAME not in entries:
            raise Refused("infotext_absent")
        return {"request": infotext.read(entries[infotext.NAME]).to_json()}
    except Refused as refusal:
        raise HTTPException(422, str(refusal)) from refusal


def list_downloads() -> dict[str, Any]:
    """The files that AnyMS can download, and the progress of the last download."""
    files = [_file_entry(file) for file in KNOWN if file.offered]
    return {"files": files, "progress": _progress(downloads.progress)}


def download(name: str = Body(embed=True)) -> dict[str, Any]:
    """Start to download the file of that name from `list_downloads`; returns at once. 404: no such file; 409: not now.

    The caller gives neither an address nor a path.
    """
    file = known_file(name)
    if file is None:
        names = ", ".join(file.name for file in KNOWN)
        raise HTTPException(404, str(Refused("download_unknown", got=name[:80], expected=names)))
    try:
        return {"progress": _progress(begin(file))}
    except Refused as refusal:
        raise HTTPException(409, str(refusal)) from refusal


def _adapter_entry(unet: nn.Module | None, adapter: AdapterCheckpoint) -> dict[str, Any]:
    """`fits` is null while no checkpoint is loaded."""
    entry = {"file": adapter.path.name, "kind": adapter.kind, "tokens": adapter.tokens}
    if unet is None:
        return {**entry, "fits": None, "why_not": "no checkpoint is loaded"}
    problem = family_mismatch(unet, cross_attention_layers(unet), adapter)
    return {**entry, "fits": problem is None, "why_not": WHY_NOT.format(**problem) if problem else ""}


def _encoder_entry(encoder: EncoderCheckpoint, adapters: list[AdapterCheckpoint]) -> dict[str, Any]:
    """`fits` names the adapters that take this encoder's output."""
    fitting = [adapter for adapter in adapters if encoder.width_for(adapter.kind) == adapter.encoder_width]
    return {
        "file": encoder.path.name,
        "kind": "CLIP vision",
        "hidden_width": encoder.hidden_width,
        "projection_width": encoder.projection_width,
        "fits": [adapter.path.name for adapter in fitting],
    }


def _file_entry(file: KnownFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "folder": file.folder,
        "size": file.size,
        "sha256": file.sha256,
        "licence": file.licence,
        "address": file.address(mirror()),
        "there": any((folder / file.name).is_file() for folder in model_folders()),
    }


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    return None if progress is None else asdict(progress)


# -- access ------------------------------------------------------------------------------------------------------------


def guard(app: Any) -> Callable[[Call], None]:
    """A check that lets through users of the host's API and of its page; everyone if the host requires no login."""

    def check(call: Call) -> None:
        if call.method == "POST":
            _check_origin(call.headers)
        accounts, open_to_all = _accounts(app)
        if open_to_all or _logged_in(app, call.cookies) or _known(call.headers.get("authorization", ""), accounts):
            return
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    # FastAPI looks up annotations that are text in this module, where `check` is not: give it the classes.
    check.__annotations__ = {"call": Call, "return": None}
    return check


def _check_origin(headers: Mapping[str, str]) -> None:
    """Refuse a POST that a page of another site sent through the user's browser; programs send no such headers.

    403: from another origin that the host does not allow. 415: not JSON, which browsers send without asking first.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, FOREIGN.format(got=f"Content-Type {kind[:60]!r}", expected="application/json"))
    origin = headers.get("origin", "")
    site = headers.get("sec-fetch-site", "same-origin")
    if _allowed(origin) or (origin and urlsplit(origin).netloc in _own_names(headers)):
        return
    if origin or site not in ("same-origin", "none"):
        got = f"Origin {origin[:80]!r}" if origin else f"Sec-Fetch-Site {site[:20]!r}"
        raise HTTPException(403, FOREIGN.format(got=got, expected="this WebUI's own address"))


def _own_names(headers: Mapping[str, str]) -> set[str]:
    """The WebUI's own host names with ports, by what the browser called and by what a proxy in front of it says."""
    names = {headers.get(name, "") for name in ("host", "x-forwarded-host")}
    return names - {""}


def _allowed(origin: str) -> bool:
    """Whether the host's flags allow this origin."""
    listed = str(getattr(shared.cmd_opts, "cors_allow_origins", None) or "").split(",")
    pattern = getattr(shared.cmd_opts, "cors_allow_origins_regex", None)
    if not origin:
        return False
    return origin in map(str.strip, listed) or "*" in listed or bool(pattern and re.fullmatch(pattern, origin))


def _accounts(app: Any) -> tuple[list[tuple[str, str]], bool]:
    """(name, password) of every account, and whether the host requires no login."""
    option = getattr(shared.cmd_opts, "api_auth", None)
    accounts = []
    for pair in option.split(",") if option else ():
        name, _, password = pair.partition(":")
        accounts.append((name, password))
    login = getattr(app, "auth", None)
    if isinstance(login, dict):
        accounts += login.items()
    return accounts, not option and not login and getattr(app, "auth_dependency", None) is None


def _logged_in(app: Any, cookies: dict[str, str]) -> bool:
    """Whether a cookie holds a token of gradio's login; the cookie's name differs between versions."""
    tokens = getattr(app, "tokens", None) or {} if getattr(app, "auth", None) else {}
    return any(value in tokens for value in cookies.values())


def _known(header: str, accounts: list[tuple[str, str]]) -> bool:
    """Whether an HTTP Basic header names one of the accounts."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return False
    name, colon, password = text.partition(":")
    if not colon:
        return False
    # compare_digest takes the same time for every wrong guess.
    sent = f"{name}:{password}".encode()
    matches = [compare_digest(sent, f"{user}:{secret}".encode()) for user, secret in accounts]
    return any(matches)
