"""A local HTTP server of one file. The test sets its behaviour for each request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Each request takes one of `behaviours`; after the last one the server behaves normally.

    `ranges` are the requests' Range headers.
    """

    content: bytes
    address: str = ""
    behaviours: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """`file_server` sets `server_state`. Each `answer_...` is a behaviour; the words after its name are arguments."""

    server_state: FileServer

    def do_GET(self) -> None:
        state = self.server_state
        state.ranges.append(self.headers.get("Range"))
        behaviour = state.behaviours.pop(0) if state.behaviours else "honest"
        name, *arguments = behaviour.split(" ")
        with contextlib.suppress(ConnectionError):
            getattr(self, f"answer_{name}")(*arguments)

    def log_message(self, *_args: object) -> None: ...

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def start(self) -> int:
        """Send the head for the requested range; return the range's first byte."""
        requested, size = self.headers.get("Range"), len(self.server_state.content)
        if requested is None:
            self.head(Content_Length=size)
            return 0
        first = int(requested.removeprefix("bytes=").rstrip("-"))
        self.head(206, Content_Length=size - first, Content_Range=f"bytes {first}-{size - 1}/{size}")
        return first

    def answer_honest(self) -> None:
        self.wfile.write(self.server_state.content[self.start() :])

    def answer_cut(self, count: str) -> None:
        """End after `count` bytes."""
        first = self.start()
        self.wfile.write(self.server_state.content[first : first + int(count)])

    def answer_stall(self, count: str) -> None:
        """Send nothing more after `count` bytes."""
        first = self.start()
        self.wfile.write(self.server_state.content[first : first + int(count)])
        self.wfile.flush()
        self.server_state.released.wait(10)

    def answer_slow(self, count: str) -> None:
        for first in range(self.start(), len(self.server_state.content), int(count)):
            self.wfile.write(self.server_state.content[first : first + int(count)])
            self.wfile.flush()
            time.sleep(0.02)

    def answer_wrong(self) -> None:
        self.head(Content_Length=len(self.server_state.content))
        self.wfile.write(bytes(len(self.server_state.content)))

    def answer_length(self, length: str) -> None:
        """State a wrong length, or none for "-"."""
        self.head(**({} if length == "-" else {"Content_Length": length}))
        self.wfile.write(self.server_state.content)

    def answer_longer(self) -> None:
        self.head()
        self.wfile.write(self.server_state.content + bytes(9))

    def answer_whole(self) -> None:
        """Ignore the Range header."""
        self.head(Content_Length=len(self.server_state.content))
        self.wfile.write(self.server_state.content)

    def answer_elsewhere(self) -> None:
        """Send another range than the requested one."""
        self.head(206, Content_Length=3, Content_Range=f"bytes 1-3/{len(self.server_state.content)}")
        self.wfile.write(self.server_state.content[1:4])

    def answer_redirect(self, where: str) -> None:
        self.head(302, Location=where, Content_Length=0)

    def answer_status(self, code: str) -> None:
        self.head(int(code), Content_Length=0)

    def answer_garbage(self) -> None:
        self.wfile.write(b"\x00\xff garbage\r\n\r\n")

    def answer_nothing(self) -> None: ...


@contextlib.contextmanager
def file_server(content: bytes) -> Iterator[FileServer]:
    state = FileServer(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"server_state": state}))
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
