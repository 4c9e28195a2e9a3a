"""Downloads from a server that stalls, cuts, redirects and sends wrong bytes; and onto a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib_anyms.errors import Refused
from lib_anyms.models import downloads as module
from lib_anyms.models import web_file
from lib_anyms.models.downloads import Conditions, Downloads, Stopped, fetch
from lib_anyms.models.known_files import HOME, KNOWN, KnownFile, encoder_for, known_file
from tests.support.file_server import FileServer, file_server

CONTENT = bytes(range(256)) * 1200  # 300 KiB
FILE = KnownFile("adapter.safetensors", "ipadapter", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "a.safetensors")
QUICK = Conditions(stalled=0.3, retry_after=0.005)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def get(server: FileServer, folder: Path, conditions: Conditions = QUICK, file: KnownFile = FILE) -> Path:
    return fetch(file, folder, server.address, conditions)


def refused(server: FileServer, folder: Path, file: KnownFile = FILE) -> Refused:
    """The refusal of a download, which leaves no file of that name."""
    with pytest.raises(Refused) as caught:
        get(server, folder, file=file)
    assert not (folder / file.name).exists()
    return caught.value


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix == ".part"]


def test_a_file_comes_whole_and_leaves_nothing_beside_it(server: FileServer, tmp_path: Path) -> None:
    sizes: list[int] = []
    path = get(server, tmp_path / "models" / "ipadapter", Conditions(report=sizes.append))
    assert path.read_bytes() == CONTENT
    assert [each.name for each in path.parent.iterdir()] == [FILE.name]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(CONTENT)
    assert server.ranges == [None]


@pytest.mark.parametrize(
    "behaviours",
    [
        ["cut 100000", "cut 70000"],
        ["stall 100000"],
        ["slow 70000"],
        ["nothing"],
        ["garbage"],
        ["status 503", "status 429"],
        ["length -"],
        ["cut 90000", "whole"],
        ["cut 90000", "elsewhere"],
        ["cut 90000", "status 416"],
        ["cut 90000", "nothing", "cut 90000", "nothing", "cut 90000"],
    ],
    ids=" then ".join,
)
def test_a_server_that_fails_for_a_while_is_tried_again(
    server: FileServer, tmp_path: Path, behaviours: list[str]
) -> None:
    server.behaviours = list(behaviours)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert parts(tmp_path) == []
    assert not server.behaviours


def test_it_continues_where_it_was_cut(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["cut 100000", "stall 100000"]
    get(server, tmp_path)
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_it_continues_after_a_restart(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["cut 100000", *["nothing"] * module.TRIES]
    broken = refused(server, tmp_path)
    assert (broken.cause, len(server.ranges)) == ("download_broken", 1 + module.TRIES)
    assert "0 MB are saved" in str(broken)
    assert [path.stat().st_size for path in parts(tmp_path)] == [100000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=100000-"


@pytest.mark.parametrize(
    ("behaviours", "cause"),
    [
        (["wrong"], "download_other"),
        (["length 7"], "download_other"),
        ([f"length {len(CONTENT) + 1}"], "download_other"),
        (["length 99999999999999999999"], "download_other"),
        (["longer"], "download_other"),
        (["status 404"], "download_refused"),
        (["status 401"], "download_refused"),
        (["redirect file:///etc/passwd"], "download_refused"),
        (["redirect ftp://127.0.0.1/a"], "download_refused"),
        (["redirect /again"] * 20, "download_refused"),
        (["nothing"] * 9, "download_broken"),
        (["garbage"] * 9, "download_broken"),
        (["status 500"] * 9, "download_broken"),
    ],
)
def test_a_server_that_sends_something_else_is_refused(
    server: FileServer, tmp_path: Path, behaviours: list[str], cause: str
) -> None:
    server.behaviours = list(behaviours)
    error = refused(server, tmp_path)
    assert error.cause == cause
    assert len(str(error)) < 400
    if cause == "download_other":
        assert parts(tmp_path) == []  # no download continues from it


def test_wrong_bytes_before_a_cut_are_found_at_the_end(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / f"{FILE.name}.{FILE.sha256[:8]}.part"
    part.write_bytes(b"x" * 5000)
    assert refused(server, tmp_path).cause == "download_other"
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_redirect_is_followed(server: FileServer, tmp_path: Path) -> None:
    with file_server(CONTENT) as other:
        server.behaviours = [f"redirect {other.address}/elsewhere"] * 2
        other.behaviours = ["cut 50000"]
        assert get(server, tmp_path).read_bytes() == CONTENT
    assert other.ranges == [None, "bytes=50000-"]


def test_a_part_that_is_too_long_or_a_link_is_not_continued(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / f"{FILE.name}.{FILE.sha256[:8]}.part"
    part.write_bytes(CONTENT + b"x")
    assert get(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / FILE.name).unlink()
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"mine")
    part.symlink_to(mine)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["file", "dangling link", "folder"])
def test_an_existing_file_is_never_overwritten(server: FileServer, tmp_path: Path, kind: str) -> None:
    target = tmp_path / FILE.name
    {
        "file": lambda: target.write_bytes(b"mine"),
        "folder": target.mkdir,
        "dangling link": lambda: target.symlink_to("no"),
    }[kind]()
    with pytest.raises(Refused) as caught:
        get(server, tmp_path)
    assert caught.value.cause == "download_taken"
    assert server.ranges == []
    assert target.is_symlink() or target.is_dir() or target.read_bytes() == b"mine"


def test_too_little_space_is_reported_before_a_byte_is_downloaded(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE", 10**18)
    assert refused(server, tmp_path).cause == "download_space"
    assert server.ranges == []


@pytest.mark.parametrize(("number", "cause"), [(errno.ENOSPC, "download_space"), (errno.EIO, "download_unwritable")])
def test_a_disk_that_fails_during_a_download(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cause: str
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, "fsync", fail)
    assert refused(server, tmp_path).cause == cause
    assert bool(parts(tmp_path)) == (number != errno.ENOSPC)  # a full disk gets its bytes back


def test_a_folder_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Refused) as caught:
        get(server, tmp_path / "file" / "below")
    assert caught.value.cause == "download_unwritable"


@pytest.mark.parametrize(
    "home", ["", "file:///etc", "ftp://a/b", "https://", "http://a b", "a.example", "https://u:p@a.example"]
)
def test_a_mirror_is_a_web_address(tmp_path: Path, home: str) -> None:
    with pytest.raises(Refused) as caught:
        fetch(FILE, tmp_path, home)
    assert caught.value.cause == "download_mirror"


def test_a_file_without_a_known_hash_is_not_downloaded(server: FileServer, tmp_path: Path) -> None:
    unknown = KnownFile("a.safetensors", "ipadapter", 5, "", "a.safetensors")
    climbing = KnownFile("../a.safetensors", "ipadapter", 5, FILE.sha256, "a.safetensors")
    for file in (unknown, climbing):
        with pytest.raises(Refused) as caught:
            get(server, tmp_path, file=file)
        assert caught.value.cause == "download_unknown"
    assert server.ranges == []


# -- one at a time, never while an image is generating -----------------------------------------------------------------


def until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_at_a_time_with_progress_and_its_end(server: FileServer, tmp_path: Path, caplog) -> None:
    server.behaviours = ["slow 20000"]
    running = Downloads()
    running.start(FILE, tmp_path, server.address)
    until(lambda: running.progress.done)
    assert (running.progress.state, running.progress.size) == ("running", len(CONTENT))
    with pytest.raises(Refused) as caught:
        running.start(FILE, tmp_path, server.address)
    assert caught.value.cause == "download_running"
    running.wait(10)
    assert (running.progress.state, running.progress.done) == ("done", len(CONTENT))
    assert "50 %" in caplog.text
    with pytest.raises(Refused) as caught:
        running.start(FILE, tmp_path, server.address)
    assert caught.value.cause == "download_taken"


def test_a_failure_has_its_sentence(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["status 404"]
    running = Downloads()
    running.start(FILE, tmp_path, server.address)
    running.wait(10)
    assert running.progress.state == "failed"
    assert "404" in running.progress.sentence


def test_a_stopped_download_continues(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["stall 100000"]
    running = Downloads()
    running.start(FILE, tmp_path, server.address)
    until(lambda: running.progress.done >= 100000)
    running.stop()
    server.released.set()
    running.wait(10)
    assert running.progress.state == "stopped"
    running.start(FILE, tmp_path, server.address)
    running.wait(10)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_none_starts_while_an_image_is_generating(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        Downloads().start(FILE, tmp_path, server.address, lambda: True)
    assert caught.value.cause == "download_busy"
    assert server.ranges == []


def test_a_running_one_waits_while_an_image_is_generating(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = ["slow 20000"]
    busy, running = threading.Event(), Downloads()
    running.start(FILE, tmp_path, server.address, busy.is_set)
    until(lambda: running.progress.done)
    busy.set()
    time.sleep(0.5)
    before = running.progress.done
    time.sleep(0.3)
    assert running.progress.done == before < len(CONTENT)
    busy.clear()
    running.wait(10)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_stopping_ends_the_waiting_too(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        get(server, tmp_path, Conditions(waits=lambda: True, ends=lambda: True))


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_is_complete() -> None:
    assert len({file.name for file in KNOWN}) == len({file.sha256 for file in KNOWN}) == len(KNOWN) == 7
    for file in KNOWN:
        assert file.offered
        assert file.licence
        assert int(file.sha256, 16)
        repository = "r3gm/noob-ipa/" if file.name.startswith("noob") else "h94/IP-Adapter/resolve/main/"
        assert file.address().startswith(f"{HOME}/{repository}")
        assert file.address("http://mirror/x/").startswith(f"http://mirror/x/{repository}")
        assert bool(file.encoder) != bool(file.gives)
        assert not file.encoder or known_file(file.encoder) is not None
    assert encoder_for("plus", 1280) is known_file("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors")
    assert encoder_for("base", 1280) is known_file("CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors")
    assert encoder_for("base", 768) is None
    assert known_file("../" + KNOWN[0].name) is None
    assert known_file(KNOWN[0].name.upper()) is None


def test_the_adapter_for_noobai_is_known_at_one_revision() -> None:
    file = known_file("noobIPAMARK1_mark1.safetensors")
    assert (file.size, file.encoder) == (1_405_172_056, "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors")
    assert file.sha256 == "5cdb6a00be1b12579745b5bed0c7b83f0869073d8a864fa8cd50a9356601919a"
    place = "resolve/534fdd8fb5a221d67937d5495febd2560a1d395e/model_G/noobIPAMARK1_mark1.safetensors"
    assert file.address() == f"{HOME}/r3gm/noob-ipa/{place}"
    assert "fair-ai-public-1.0-sd" in file.licence


def test_a_file_without_traceable_values_is_not_offered() -> None:
    assert not KnownFile("a", "ipadapter", 5, "", "a").offered
    assert not KnownFile("a", "ipadapter", 0, FILE.sha256, "a").offered


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_authorities_of_a_company_are_trusted_beside_certifi_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    import certifi

    pem = Path(certifi.where()).read_text(encoding="utf-8")
    marker = "-----BEGIN CERTIFICATE-----"
    first, rest = pem.index(marker), pem.index(marker, pem.index(marker) + 1)
    (tmp_path / "company.pem").write_text(pem[first:rest], encoding="utf-8")
    (tmp_path / "certifi.pem").write_text(pem[rest:], encoding="utf-8")
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "certifi.pem"))
    for name in web_file.CERTIFICATES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    without = len(web_file._certificates().get_ca_certs())
    monkeypatch.setenv(variable, str(tmp_path / "company.pem"))
    assert len(web_file._certificates().get_ca_certs()) == without + 1
    monkeypatch.setenv(variable, str(tmp_path / "absent.pem"))
    assert len(web_file._certificates().get_ca_certs()) == without
