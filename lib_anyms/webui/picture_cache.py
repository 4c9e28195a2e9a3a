"""A cache of reference pictures by hash. An infotext carries the hashes, so a pasted infotext brings the pictures back.

Each file is a PNG named by the hash of its pixels (request.picture_hash). A file is used only if its pixels still have
that hash. No other file is ever opened: no other name, no link, nothing outside the folder.
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
# Of one picture: a larger one would take seconds to write. The page sends at most 1024 x 1024.
MOST_PIXELS = 4 * 10**6
_HASH = re.compile(r"[0-9a-f]{12}")
_FILE = re.compile(r"([0-9a-f]{12})\.png")
_PART = "part-"  # prefix of a file that is still being written


class PictureStore:
    """Pictures in `folder`, at most `limit` bytes; the least recently used are removed first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @property
    def size(self) -> int:
        """Bytes of all pictures."""
        return sum(facts.st_size for _, facts in self._files())

    def keep(self, picture: Image.Image) -> None:
        """Save `picture`, unless it has more than MOST_PIXELS or is larger than the limit.

        Raises OSError if it cannot be written.
        """
        picture = as_rgb(picture)
        path = self.folder / f"{picture_hash(picture)}.png"
        if _regular(path):
            os.utime(path)
            return
        if picture.width * picture.height > MOST_PIXELS:
            return
        bare = Image.frombytes("RGB", picture.size, picture.tobytes())  # a copy without metadata
        data = io.BytesIO()
        bare.save(data, "PNG", compress_level=1)
        if data.tell() <= self.limit:
            self._write(path, data.getvalue())
            self._make_room()

    def find(self, name: str) -> bytes | None:
        """The PNG of the picture with the hash `name`; None if it is absent, no hash, or has other pixels by now."""
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
        """Remove all pictures of this cache; other files stay."""
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
            os.replace(part, path)  # replaces a link of that name, never follows it
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def _make_room(self) -> None:
        files = sorted(self._files(), key=lambda file: file[1].st_mtime_ns)
        over = sum(facts.st_size for _, facts in files) - self.limit
        for path, facts in files:
            if over <= 0:
                return
            path.unlink(missing_ok=True)
            over -= facts.st_size

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        if not self.folder.is_dir():
            return []
        files = []
        for path in self.folder.iterdir():
            facts = _regular(path) if _FILE.fullmatch(path.name) else None
            if facts is not None:
                files.append((path, facts))
        return files


def _regular(path: Path) -> os.stat_result | None:
    """Size and times of a plain file; None for a link, a pipe, a folder, or nothing."""
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
