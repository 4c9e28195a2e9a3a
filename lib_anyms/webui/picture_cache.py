"""Reference pictures kept on this computer by their hash, so that an infotext, which carries the hashes, brings them
back.

A file is a PNG named by request.picture_hash, which is of its pixels: what is read must have that very hash again, and
nothing else in the folder, nor anything a name or a link points to outside of it, is ever opened.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import tempfile
from pathlib import Path

from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import as_rgb, read_picture
from lib_anyms.job.request import picture_hash

log = logging.getLogger("anyms")
MOST_PIXELS = (
    4 * 10**6
)  # of one picture: writing a larger one would take seconds of a job; the page sends at most 1024 x 1024
_HASH = re.compile(r"[0-9a-f]{12}")
_FILE = re.compile(r"([0-9a-f]{12})\.png")
_PART = "part-"  # of a name: a file that is being written


class PictureStore:
    """`folder` with at most `limit` bytes of pictures; the longest unused go first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum(facts.st_size for _, facts in self._files())

    def keep(self, picture: Image.Image) -> None:
        """Keep `picture`, unless it is larger than MOST_PIXELS or the store.

        Raises OSError where it cannot be written.
        """
        picture = as_rgb(picture)
        path = self.folder / f"{picture_hash(picture)}.png"
        if _regular(path):
            os.utime(path)
            return
        if picture.width * picture.height > MOST_PIXELS:
            return
        data = io.BytesIO()
        Image.frombytes("RGB", picture.size, picture.tobytes()).save(
            data, "PNG", compress_level=1
        )  # a copy: no metadata
        if data.tell() <= self.limit:
            self._write(path, data.getvalue())
            self._make_room()

    def find(self, name: str) -> bytes | None:
        """The PNG of the picture whose hash is `name`; None: not kept, or no such name, or no longer what it was."""
        if not _HASH.fullmatch(name):
            return None
        path = self.folder / f"{name}.png"
        try:
            data = _read(path)
            if data is None or picture_hash(read_picture(data, name)) != name:
                return None
            os.utime(path)
        except (OSError, Refused) as error:
            log.debug("the kept picture %s cannot be read: %s", name, error)
            return None
        return data

    def empty(self) -> None:
        """Remove all that was kept here; files of others stay."""
        for path, _ in self._files():
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f"{_PART}*"):
            path.unlink(missing_ok=True)

    def _write(self, path: Path, data: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=_PART, dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(part, path)  # a link of that name is replaced, never followed
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def _make_room(self) -> None:
        files = sorted(self._files(), key=lambda each: each[1].st_mtime_ns)
        over = sum(facts.st_size for _, facts in files) - self.limit
        for path, facts in files:
            if over <= 0:
                return
            path.unlink(missing_ok=True)
            over -= facts.st_size

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        if not self.folder.is_dir():
            return []
        named = [path for path in self.folder.iterdir() if _FILE.fullmatch(path.name)]
        return [(path, facts) for path in named if (facts := _regular(path))]


def _regular(path: Path) -> os.stat_result | None:
    """The facts of a plain file: no link, no pipe, no folder."""
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None


def _read(path: Path) -> bytes | None:
    if _regular(path) is None:
        return None
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read()
