"""The processes of one run: accelerate starts them, files in the output folder show how far each one is.

Under `accelerate launch` or `torchrun` each process gets its share by accelerate's PartialState; without them there is
one process, and accelerate need not be installed. Results are files, so no process waits for another one's results, and
a process that is lost costs only the picture it was making.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from lib_anyms.errors import Refused

FOLDER = "processes"
BEAT, LOST = 2.0, 60.0  # seconds: between two signs of life, and without one until a process counts as lost
RUNNING, DONE = "running", "done"
_T = TypeVar("_T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """How far a process is: pictures and scores finished, of all its own."""

    number: int
    state: str
    finished: int
    total: int
    time: float
    host: str = ""

    @property
    def lost(self) -> bool:
        """No sign of life for too long."""
        return self.state == RUNNING and time.time() - self.time > LOST

    def __str__(self) -> str:
        return f"process {self.number} ({self.host}) after {self.finished} of {self.total} pictures"


class Team:
    """This process among all of a run. device: where its models run."""

    def __init__(self, device: str) -> None:
        self._state: Any = None
        self.number, self.count, self.device = 0, 1, device
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            self._state = PartialState(cpu=device == "cpu")
            self.number, self.count = self._state.process_index, self._state.num_processes
            if device == "auto":
                self.device = str(self._state.device)

    @property
    def is_first(self) -> bool:
        return self.number == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def share(self, jobs: Sequence[_T]) -> list[_T]:
        """This process's jobs, of a list that is the same in all processes."""
        if self._state is None:
            return list(jobs)
        with self._state.split_between_processes(list(jobs)) as own:
            return list(own)

    def meet(self, out: Path) -> None:
        """See that all processes write to the same folder. Raises Refused in one that sees another."""
        mark = out / FOLDER / "run.json"
        if self.is_first:
            mark.parent.mkdir(parents=True, exist_ok=True)
            write_json(mark, {"run": f"{time.time()} {os.getpid()}"})
        self.wait()
        if self._state is None:
            return
        from accelerate.utils import broadcast_object_list

        sent = [_read(mark) if self.is_first else None]
        broadcast_object_list(sent)
        if _read(mark) != sent[0]:
            raise Refused("bench_out", number=self.number, expected=self.count, path=out)


def write_json(path: Path, content: Any) -> None:
    """Write a file at once: another process sees it whole or not at all."""
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    half.write_text(json.dumps(content), encoding="utf-8")
    half.replace(path)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def statuses(out: Path) -> list[Status]:
    """Of all processes of the last run, by number."""
    contents = [_read(path) for path in (out / FOLDER).glob("process-*.json")]
    return sorted((Status(**one) for one in contents if one), key=lambda one: one.number)


def forget(out: Path, say: Say) -> None:
    """Remove the last run's files, and say which of its processes did not finish."""
    for status in statuses(out):
        if status.state == RUNNING:
            say(f"the last run lost {status}; what is missing is made now")
        _file(out, status.number).unlink(missing_ok=True)


def _file(out: Path, number: int) -> Path:
    return out / FOLDER / f"process-{number}.json"


@contextmanager
def alive(out: Path, number: int, total: int) -> Iterator[Callable[[], None]]:
    """Write signs of life until the block ends; yields the function to call after each picture.

    A block that ends with an error leaves the process as not finished.
    """
    lock, stop = threading.Lock(), threading.Event()
    status = Status(number, RUNNING, 0, total, time.time(), socket.gethostname())

    def write(**changes: Any) -> None:
        nonlocal status
        with lock:
            status = replace(status, time=time.time(), **changes)
            write_json(_file(out, number), asdict(status))

    def beat() -> None:
        while not stop.wait(BEAT):
            write()

    write()
    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield lambda: write(finished=status.finished + 1)
        write(state=DONE)
    finally:
        stop.set()
        beating.join()


def wait_for_others(out: Path, count: int, say: Say) -> list[Status]:
    """Wait until each other process has finished or is lost -> the lost ones."""
    start = time.time()
    while True:
        others = {status.number: status for status in statuses(out) if status.number}
        for number in range(1, count):  # one that ended before its first sign of life
            others.setdefault(number, Status(number, RUNNING, 0, 0, start))
        if all(status.state == DONE or status.lost for status in others.values()):
            break
        time.sleep(BEAT / 4)
    lost = [status for status in others.values() if status.lost]
    for status in lost:
        say(f"lost {status}: no sign of life for {LOST:g} seconds; the first process makes the rest")
    return lost
