"""The picture cache: pictures come back by hash, take bounded space, and no other file is ever opened or removed."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib_anyms.job.request import picture_hash
from lib_anyms.webui.picture_cache import MOST_PIXELS, PictureStore

RED = Image.new("RGB", (6, 5), "red")


def noise(seed: int) -> Image.Image:
    """About 30 kB, which PNG cannot compress."""
    return Image.frombytes("RGB", (100, 100), random.Random(seed).randbytes(30_000))


def outside(folder: Path) -> Path:
    """A picture outside the cache."""
    path = folder / "secret.png"
    RED.save(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path / "kept", 100_000)


def test_a_picture_comes_back_pixel_by_pixel_and_without_its_metadata(store: PictureStore) -> None:
    picture = noise(1)
    picture.info["comment"] = "where it was taken"
    store.keep(picture)
    data = store.find(picture_hash(picture))
    back = Image.open(io.BytesIO(data))
    assert back.tobytes() == picture.tobytes()
    assert back.info == {}
    assert store.find(picture_hash(RED)) is None
    assert [path.name for path in store.folder.iterdir()] == [f"{picture_hash(picture)}.png"]
    store.keep(picture)
    assert store.size == len(data)  # once


def test_the_least_recently_used_is_removed_first(store: PictureStore) -> None:
    pictures = [noise(seed) for seed in range(4)]
    names = [picture_hash(picture) for picture in pictures]
    for number, picture in enumerate(pictures[:3]):
        store.keep(picture)
        os.utime(store.folder / f"{names[number]}.png", (number, number))
    assert store.find(names[0])  # used again
    store.keep(pictures[3])
    assert store.size <= store.limit
    assert [bool(store.find(name)) for name in names] == [True, False, True, True]


def test_a_too_large_picture_is_not_kept_and_removes_nothing(store: PictureStore) -> None:
    store.keep(RED)
    store.keep(Image.new("RGB", (MOST_PIXELS // 1000 + 1, 1000)))
    large = Image.frombytes("RGB", (200, 200), random.Random(5).randbytes(120_000))
    store.keep(large)
    assert store.find(picture_hash(large)) is None
    assert store.find(picture_hash(RED))


@given(
    name=st.one_of(
        st.text(max_size=30), st.sampled_from(["../secret", "../secret.png", "/etc/passwd", "secret", "", "AB" * 6])
    )
)
def test_a_name_that_is_not_a_hash_opens_nothing(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    outside(folder)
    assert PictureStore(folder / "kept", 10**6).find(name) is None


@pytest.mark.parametrize(
    "name", ["../secret", "..%2fsecret", "secret\x00", f"{picture_hash(RED)}\n", picture_hash(RED).upper()]
)
def test_no_name_leads_out_of_the_folder(store: PictureStore, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outside(store.folder.parent)
    store.keep(RED)
    opened: list[Path] = []
    monkeypatch.setattr("lib_anyms.webui.picture_cache._regular", opened.append)
    assert store.find(name) is None
    assert opened == []  # not even its size was read


def test_a_link_is_not_followed_and_its_target_stays(store: PictureStore, tmp_path: Path) -> None:
    secret, name = outside(tmp_path), picture_hash(RED)
    before = secret.read_bytes()
    store.folder.mkdir()
    link = store.folder / f"{name}.png"
    link.symlink_to(secret)
    assert store.find(name) is None
    assert store.size == 0
    store.empty()
    assert link.is_symlink()
    store.keep(RED)  # replaces the link
    assert store.find(name)
    assert not link.is_symlink()
    assert secret.read_bytes() == before


def test_a_pipe_of_that_name_does_not_hang(store: PictureStore) -> None:
    store.folder.mkdir()
    os.mkfifo(store.folder / f"{picture_hash(RED)}.png")
    assert store.find(picture_hash(RED)) is None


def test_other_pixels_under_that_name_are_refused(store: PictureStore) -> None:
    store.keep(RED)
    path = store.folder / f"{picture_hash(RED)}.png"
    noise(1).save(path)
    assert store.find(picture_hash(RED)) is None
    path.write_bytes(b"x")
    assert store.find(picture_hash(RED)) is None


def test_emptying_leaves_other_files(store: PictureStore) -> None:
    store.empty()  # no folder yet
    store.keep(RED)
    other = store.folder / "holiday.png"
    RED.save(other)
    store.empty()
    assert [*store.folder.iterdir()] == [other]
    assert store.find(picture_hash(RED)) is None


def test_a_write_that_fails_leaves_nothing_behind(store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib_anyms.webui.picture_cache.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        store.keep(RED)
    assert [*store.folder.iterdir()] == []
