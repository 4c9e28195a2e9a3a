"""One HTTP request for a file from a given byte on. The response is checked against the known file."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from lib_anyms import __version__
from lib_anyms.errors import Refused
from lib_anyms.models.known_files import KnownFile

CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # variables that name a file of further authorities
CHUNK = 1 << 20  # bytes per read
_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # HTTP status codes worth a retry


class Cut(Exception):
    """The connection ended before the file was complete. Retry from the bytes that are saved."""


class Restart(Exception):
    """The server cannot continue the saved part. Retry from the first byte."""


@contextmanager
def open_at(file: KnownFile, address: str, done: int, stalled: float) -> Iterator[http.client.HTTPResponse]:
    """Request the bytes of `address` from byte `done` on; give up after `stalled` seconds without a byte.

    Raises Cut, Restart or Refused.
    """
    headers = {"User-Agent": f"AnyMS/{__version__}", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    request = urllib.request.Request(address, headers=headers)
    connect = _opener().open
    with _network(file):
        response = connect(request, timeout=stalled)
    try:
        _check_response(file, done, response)
        yield response
    finally:
        response.close()


def _check_response(file: KnownFile, done: int, response: http.client.HTTPResponse) -> None:
    length = response.headers.get("Content-Length")
    if response.status == 206:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != done or match[2] not in ("*", str(file.size)):
            raise Restart("the server sent another part of the file")
    elif done:
        raise Restart("the server sent the whole file instead of the rest")
    elif length is not None and length != str(file.size):
        raise Refused("download_other", file=file.name, got=f"{length[:20]} bytes", expected=f"{file.size} bytes")


def chunks(response: http.client.HTTPResponse, check: Callable[[], None]) -> Iterator[bytes]:
    """The rest of the response as it arrives; `check` is called before each chunk.

    Raises Cut, and whatever `check` raises.
    """
    while True:
        check()
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Cut(describe(error)) from error
        if not chunk:
            return
        yield chunk


@contextmanager
def _network(file: KnownFile) -> Iterator[None]:
    """Turn errors of urllib into Cut, Restart or Refused."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise Restart("the server has no such part of the file") from error
        if error.code in _TEMPORARY:
            raise Cut(f"{error.code} {error.reason}") from error
        raise Refused("download_refused", file=file.name, got=f"{error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Cut(describe(error)) from error


def describe(error: BaseException) -> str:
    """Class and message of a network error, at most 120 characters."""
    reason = getattr(error, "reason", None) or error
    return f"{type(reason).__name__}: {reason}"[:120] if str(reason) else type(reason).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, since sites serve large files from other hosts; but never leave https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("https", urlsplit(req.full_url).scheme):
            raise urllib.error.HTTPError(req.full_url, code, "it redirects away from https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https only: urllib's default also opens local files."""
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
    """The system's certificates, those that variables name, as companies do, and certifi's.

    certifi comes with every host: a bundled Python may have none.
    """
    context = ssl.create_default_context()  # also reads SSL_CERT_FILE and SSL_CERT_DIR
    files = [os.environ.get(name) for name in CERTIFICATES]
    try:
        import certifi

        files.append(certifi.where())
    except ImportError:
        pass
    for file in filter(None, files):
        with suppress(OSError):  # ssl.SSLError is one: a missing or damaged file adds nothing
            context.load_verify_locations(file)
    return context
