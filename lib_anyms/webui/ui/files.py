"""The panel's part "model files": what is missing, in one sentence, and a button that fetches it."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from lib_anyms.errors import Refused
from lib_anyms.hosts.fetching import begin, mirror, queued
from lib_anyms.hosts.webui import model_folders
from lib_anyms.models.downloads import Progress, downloads
from lib_anyms.models.known_files import FIRST_ADAPTER, KNOWN, KnownFile, known_file
from lib_anyms.models.model_files import what_lacks

ALL_THERE = "An adapter and its image encoder are there."
CONSENT = "Nothing is fetched before you press the button. The files are from {home}; licence: {licence}."
POLL = 0.5  # seconds between two looks at a download


def element(elem_id: Callable[[str], str]) -> None:
    """Open only where something is missing."""
    missing = what_lacks(model_folders())
    wanted = (missing[1] if missing else None) or FIRST_ADAPTER
    with gr.Accordion("model files", open=missing is not None, elem_id=elem_id("files")):
        told = gr.HTML(_sentence(), elem_id=elem_id("files_told"))
        chosen = gr.Dropdown(_labels(), value=_label(wanted), label="file", elem_id=elem_id("files_chosen"))
        with gr.Row():
            button = gr.Button("Download", elem_id=elem_id("files_download"))
            stop = gr.Button("Stop", elem_id=elem_id("files_stop"))
        shown = gr.HTML("", elem_id=elem_id("files_progress"))
    for component in (chosen, told, shown):
        component.do_not_save_to_config = True
    fetch = download if queued() else begin_only
    button.click(fetch, inputs=[chosen], outputs=[shown, told, chosen], show_progress=False)
    stop.click(end, inputs=[], outputs=[shown], show_progress=False)


def download(label: str) -> Iterator[tuple[str, str, Any]]:
    """For the button: (progress, what is missing, the list's choice), until the download has ended.

    A second press shows the one that runs. Where something else is missing in the end, that is what the list then has
    chosen.
    """
    name = str(label).partition(": ")[0]  # what the list says beside it may have changed since the page was opened
    file, running = known_file(name), downloads.progress
    try:
        if file is None:
            raise Refused("download_unknown", got=name, expected=", ".join(row.name for row in _offered()))
        if not (downloads.running and running is not None and running.name == name):
            begin(file)
    except Refused as refusal:
        yield _line(str(refusal)), _sentence(), gr.update()
        return
    while downloads.running:
        yield _words(downloads.progress), _sentence(), gr.update()
        time.sleep(POLL)
    yield _words(downloads.progress), _sentence(), _next(downloads.progress)


def begin_only(label: str) -> tuple[str, str, Any]:
    """The same on a page without gradio's queue, where nothing can be shown in between: press again to see how far it
    is.
    """
    return next(download(label))


def end() -> str:
    """For the button "Stop"."""
    downloads.stop()
    downloads.wait(2)
    return _words(downloads.progress)


def _next(ended: Progress | None) -> Any:
    missing = what_lacks(model_folders()) if ended is not None and ended.state == "done" else None
    return gr.update(choices=_labels(), value=_label(missing[1])) if missing and missing[1] else gr.update()


def _offered() -> list[KnownFile]:
    """Only what can be fetched safely."""
    return [row for row in KNOWN if row.offered]


def _labels() -> list[str]:
    return [_label(row) for row in _offered()]


def _label(row: KnownFile) -> str:
    beside = f"needs {row.encoder.split('-laion')[0]}" if row.encoder else "image encoder"
    return f"{row.name}: {row.size / 1e9:.1f} GB, {beside}"


def _sentence() -> str:
    missing = what_lacks(model_folders())
    text = str(missing[0]).removeprefix("AnyMS: ") if missing else ALL_THERE
    consent = CONSENT.format(home=mirror(), licence=FIRST_ADAPTER.licence)
    return _line(text[0].upper() + text[1:]) + _line(consent)


def _words(progress: Progress | None) -> str:
    if progress is None:
        return _line("No download was started.")
    done, size = progress.done / 1e6, progress.size / 1e6
    bar = f'<progress max="100" value="{100 * done / size:.0f}" style="width: 100%"></progress>'
    ends = {
        "running": f"{bar} {progress.name}: {done:.0f} of {size:.0f} MB",
        "done": f"{progress.name} is there and its SHA-256 is right. The next job finds it; Reload UI lists it by name.",
        "stopped": f"{progress.name}: stopped at {done:.0f} of {size:.0f} MB. Download goes on from there.",
        "failed": progress.sentence,
    }
    return ends["running"] if progress.state == "running" else _line(ends[progress.state])


def _line(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
