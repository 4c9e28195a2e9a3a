"""A cache of reference pictures by hash. An infotext carries the hashes, so a pasted infotext brings the pictures back.

Each file is a PNG named by the hash of its pixels (request.picture_hash). A file is used only if its pixels still have
that hash. No other file is ever opened: no other name, no link, nothing outside the folder.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
from pathlib import Path

from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import as_rgb, read_picture
from lib_anyms.job.request import picture_hash
from lib_anyms.webui.picture_index import index_of, list_pictures, regular

log = logging.getLogger("anyms")
# Of one picture: a larger one would take seconds to write. The page sends at most 1024 x 1024.
MOST_PIXELS = 4 * 10**6
_HASH = re.compile(r"[0-9a-f]{12}")
_PART = "part-"  # prefix of a file that is still being written


class PictureStore:
    """Pictures in `folder`, at most `limit` bytes; the least recently used are removed first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @property
    def size(self) -> int:
        """Bytes of all pictures."""
        return sum(facts.st_size for facts in list_pictures(self.folder).values())

    def list_early(self) -> None:
        """List the folder now, so that no job waits for it."""
        index = index_of(self.folder)
        with index.lock:
            index.refresh()

    def keep(self, picture: Image.Image) -> None:
        """Save `picture`, unless it has more than MOST_PIXELS or is larger than the limit.

        Raises OSError if it cannot be written.
        """
        picture = as_rgb(picture)
        path = self.folder / f"{picture_hash(picture)}.png"
        if regular(path):
            os.utime(path)
            return
        if picture.width * picture.height > MOST_PIXELS:
            return
        bare = Image.frombytes("RGB", picture.size, picture.tobytes())  # a copy without metadata
        data = io.BytesIO()
        bare.save(data, "PNG", compress_level=1)
        if data.tell() <= self.limit:
            self._add(path, data.getvalue())

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
        for name in list_pictures(self.folder):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob(f"{_PART}*"):
            path.unlink(missing_ok=True)

    def _add(self, path: Path, data: bytes) -> None:
        """Write a picture, then remove others beyond the limit. Jobs of page and API may come from two threads."""
        index = index_of(self.folder)
        with index.lock:
            index.refresh()
            self._write(path, data)
            index.add(path.name)
            index.make_room(self.limit)

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


def _read(path: Path) -> bytes | None:
    if regular(path) is None:
        return None
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read()
