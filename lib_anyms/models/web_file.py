"""A file of the web from some byte on: one connection, http or https, whose answer is held against what was asked for."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from lib_anyms import __version__
from lib_anyms.errors import Refused
from lib_anyms.models.known_files import KnownFile

PIECE = 1 << 20  # bytes read at once
_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class Cut(Exception):
    """The connection gave less than the whole file: try again from there."""


class Anew(Exception):
    """What was fetched cannot be continued: begin again."""


@contextmanager
def open_at(file: KnownFile, address: str, done: int, stalled: float) -> Iterator[http.client.HTTPResponse]:
    """The server's answer to "from byte `done` on", given up after `stalled` seconds without a byte.

    Raises Cut, Anew or Refused.
    """
    headers = {"User-Agent": f"AnyMS/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(address, headers={**headers, **({"Range": f"bytes={done}-"} if done else {})})
    ask = _opener().open
    with _network(file):
        answer = ask(request, timeout=stalled)
    try:
        _checkopen_at(file, done, answer)
        yield answer
    finally:
        answer.close()


def _checkopen_at(file: KnownFile, done: int, answer: http.client.HTTPResponse) -> None:
    whole = answer.headers.get("Content-Length")
    if answer.status == 206:
        told = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != done or told[2] not in ("*", str(file.size)):
            raise Anew("another part than was asked for")
    elif done:
        raise Anew("the whole file, where the rest was asked for")
    elif whole is not None and whole != str(file.size):
        raise Refused("download_other", file=file.name, got=f"{whole[:20]} bytes", expected=f"{file.size} bytes")


def pieces(answer: http.client.HTTPResponse, go_on: Callable[[], None]) -> Iterator[bytes]:
    """What the answer still has, as it comes; `go_on` is called before each. Raises Cut, and what `go_on` raises."""
    while True:
        go_on()
        try:
            piece = answer.read1(PIECE)
        except (OSError, http.client.HTTPException) as error:
            raise Cut(in_words(error)) from error
        if not piece:
            return
        yield piece


@contextmanager
def _network(file: KnownFile) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise Anew("no such part of the file") from error
        if error.code in _PASSING:
            raise Cut(f"{error.code} {error.reason}") from error
        raise Refused("download_refused", file=file.name, got=f"{error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Cut(in_words(error)) from error


def in_words(error: BaseException) -> str:
    """Its kind and what it says, of an error of the network."""
    reason = getattr(error, "reason", None) or error
    return f"{type(reason).__name__}: {reason}"[:120] if str(reason) else type(reason).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Sites hand large files over from other hosts: followed, but never from https to something less."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("https", urlsplit(req.full_url).scheme):
            raise urllib.error.HTTPError(req.full_url, code, "it leads away from https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """http and https only: urllib's own would open files of this computer too."""
    opener = urllib.request.OpenerDirector()
    handlers = [
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=_certificates()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _certificates() -> ssl.SSLContext:
    """Those of requests, which every host brings: a Python set up for one program may have none of its own."""
    try:
        import certifi
    except ImportError:
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=certifi.where())
