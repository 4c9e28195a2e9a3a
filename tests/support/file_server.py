"""A server of one file on this computer that behaves as the test tells it to, a behaviour a connection."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """`behaviours` are used up one a request; afterwards the server is honest.

    `asked` are the requests' Range headers.
    """

    content: bytes
    address: str = ""
    behaviours: list[str] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """`told` is set by `file_server`; each `answer_...` is a behaviour, its words are the arguments."""

    told: FileServer

    def do_GET(self) -> None:
        self.told.asked.append(self.headers.get("Range"))
        behaviour = self.told.behaviours.pop(0) if self.told.behaviours else "honest"
        with contextlib.suppress(ConnectionError):
            getattr(self, "answer_" + behaviour.partition(" ")[0])(*behaviour.split(" ")[1:])

    def log_message(self, *_args: object) -> None: ...

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def start(self) -> int:
        """Answers the head of what was asked for -> its first byte."""
        asked, size = self.headers.get("Range"), len(self.told.content)
        if asked is None:
            self.head(Content_Length=size)
            return 0
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        self.head(206, Content_Length=size - first, Content_Range=f"bytes {first}-{size - 1}/{size}")
        return first

    def answer_honest(self) -> None:
        self.wfile.write(self.told.content[self.start() :])

    def answer_cut(self, count: str) -> None:
        """Ends after `count` bytes."""
        first = self.start()
        self.wfile.write(self.told.content[first : first + int(count)])

    def answer_stall(self, count: str) -> None:
        """Says nothing more after `count` bytes."""
        first = self.start()
        self.wfile.write(self.told.content[first : first + int(count)])
        self.wfile.flush()
        self.told.released.wait(10)

    def answer_slow(self, count: str) -> None:
        for first in range(self.start(), len(self.told.content), int(count)):
            self.wfile.write(self.told.content[first : first + int(count)])
            self.wfile.flush()
            time.sleep(0.02)

    def answer_wrong(self) -> None:
        self.head(Content_Length=len(self.told.content))
        self.wfile.write(bytes(len(self.told.content)))

    def answer_length(self, length: str) -> None:
        """Lies about the length, or tells none for "-"."""
        self.head(**({} if length == "-" else {"Content_Length": length}))
        self.wfile.write(self.told.content)

    def answer_longer(self) -> None:
        self.head()
        self.wfile.write(self.told.content + bytes(9))

    def answer_whole(self) -> None:
        """Knows nothing of parts."""
        self.head(Content_Length=len(self.told.content))
        self.wfile.write(self.told.content)

    def answer_elsewhere(self) -> None:
        """Another part than was asked for."""
        self.head(206, Content_Length=3, Content_Range=f"bytes 1-3/{len(self.told.content)}")
        self.wfile.write(self.told.content[1:4])

    def answer_redirect(self, where: str) -> None:
        self.head(302, Location=where, Content_Length=0)

    def answer_status(self, code: str) -> None:
        self.head(int(code), Content_Length=0)

    def answer_garbage(self) -> None:
        self.wfile.write(b"\x00\xff garbage\r\n\r\n")

    def answer_nothing(self) -> None: ...


@contextlib.contextmanager
def file_server(content: bytes) -> Iterator[FileServer]:
    told = FileServer(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"told": told}))
    server.daemon_threads = True
    told.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
