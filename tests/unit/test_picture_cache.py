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
from lib_anyms.runtime import runtime
from lib_anyms.webui import picture_index
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
    monkeypatch.setattr("lib_anyms.webui.picture_cache.regular", opened.append)
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


# -- a folder of many files --------------------------------------------------------------------------------------------


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Gets an entry whenever the folder is listed."""
    seen: list[Path] = []
    whole = picture_index.list_pictures
    monkeypatch.setattr(picture_index, "list_pictures", lambda folder: seen.append(folder) or whole(folder))
    return seen


def test_new_pictures_do_not_list_the_folder_again(store: PictureStore, listings: list[Path]) -> None:
    for seed in range(9):  # three fit, so the others are removed
        PictureStore(store.folder, store.limit).keep(noise(seed))  # a new store for each job, as in a WebUI
    assert len(listings) <= 1
    assert store.size <= store.limit
    kept = [seed for seed in range(9) if store.find(picture_hash(noise(seed)))]
    assert kept == [6, 7, 8]


def test_files_that_others_add_and_remove_count_too(store: PictureStore, listings: list[Path]) -> None:
    """The user empties the folder, or a second WebUI writes into it."""
    store.keep(noise(0))
    for number in range(1, 4):
        path = store.folder / f"{number:012x}.png"
        path.write_bytes(bytes(30_000))
        os.utime(path, (number, number))
    os.utime(store.folder, (5, 5))  # another time of change, whatever the disk's clock resolves
    store.keep(noise(1))
    assert store.size <= store.limit
    assert store.find(picture_hash(noise(0)))  # the foreign files are older
    store.empty()
    os.utime(store.folder, (6, 6))
    store.keep(noise(2))
    assert [path.name for path in store.folder.iterdir()] == [f"{picture_hash(noise(2))}.png"]
    assert len(listings) == 2


def test_a_picture_used_by_another_process_is_not_removed_as_old(store: PictureStore) -> None:
    for seed in range(3):
        store.keep(noise(seed))
        os.utime(store.folder / f"{picture_hash(noise(seed))}.png", (seed + 1, seed + 1))
    runtime.of(picture_index.FolderIndexes).clear()
    store.keep(RED)  # lists the folder
    os.utime(store.folder / f"{picture_hash(noise(0))}.png")
    store.keep(noise(3))
    assert [bool(store.find(picture_hash(noise(seed)))) for seed in range(4)] == [True, False, True, True]


def test_emptying_is_noticed_by_the_next_picture(store: PictureStore) -> None:
    for seed in range(3):
        store.keep(noise(seed))
    store.empty()
    os.utime(store.folder, (5, 5))
    for seed in range(3, 6):
        store.keep(noise(seed))
    assert len([*store.folder.iterdir()]) == 3
