"""The panel's part "model files": says what is missing, with a button that downloads it."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lib_anyms.errors import Refused
from lib_anyms.hosts.fetching import begin, mirror, queued
from lib_anyms.hosts.webui import model_folders
from lib_anyms.models.downloads import Progress, downloads
from lib_anyms.models.known_files import FIRST_ADAPTER, KNOWN, KnownFile, known_file
from lib_anyms.models.model_files import find_missing, missing_files
from lib_anyms.models.purpose import is_noob_family
from lib_anyms.webui.ui import model_hint, settings

ALL_THERE = "An adapter and its image encoder are installed."
CONSENT = "AnyMS downloads nothing until you press the button. The files are from {home}. Licences: {licences}."
POLL = 0.5  # seconds between two updates of the progress


@dataclass(frozen=True)
class FilesPanel:
    """Components that `connect` fills, the button for it, and the events of the buttons that download."""

    message: Any
    choice: Any
    again: Any
    downloads: tuple[Any, ...]


def element(elem_id: Callable[[str], str]) -> FilesPanel:
    """Build the accordion; it is open only if something is missing now. `connect` keeps the rest up to date."""
    missing = find_missing(model_folders())
    suggested = (missing[1] if missing else None) or FIRST_ADAPTER
    with gr.Accordion("model files", open=missing is not None, elem_id=elem_id("files")):
        message = gr.HTML(_sentence(), elem_id=elem_id("files_told"))
        choice = gr.Dropdown(_labels(), value=_label(suggested), label="file", elem_id=elem_id("files_chosen"))
        with gr.Row():
            button = gr.Button("Download", elem_id=elem_id("files_download"))
            stop = gr.Button("Stop", elem_id=elem_id("files_stop"))
            every = gr.Button("Download all that is missing", elem_id=elem_id("files_all"))
            again = gr.Button("Check again", elem_id=elem_id("files_check"))
        shown = gr.HTML("", elem_id=elem_id("files_progress"))
    for component in (choice, message, shown):
        component.do_not_save_to_config = True
    fetch = download if queued() else begin_only
    one = button.click(fetch, inputs=[choice], outputs=[shown, message, choice], show_progress=False)
    fetch_all = download_all if queued() else begin_next
    all_of_them = every.click(fetch_all, inputs=[], outputs=[shown, message, choice], show_progress=False)
    stop.click(end, inputs=[], outputs=[shown], show_progress=False)
    return FilesPanel(message, choice, again, (one, all_of_them))


def connect(panel: FilesPanel, chosen: Sequence[Any], hints: Sequence[Any]) -> None:
    """Look for files whenever the page is opened, at the button, and after a download.

    chosen: the panel's adapter, encoder and checkpoint; hints: what `model_hint.shown` sets.
    """
    lists = [*hints, *chosen[:2]]
    whole = {"inputs": [*chosen], "outputs": [*lists, panel.message, panel.choice], "show_progress": False}
    panel.again.click(files_now, **whole)
    load = getattr(gr.context.Context.root_block, "load", None)  # None where a host builds the panel outside a page
    if load is not None:
        load(files_now, **whole)
    # Not at a change of the message: gradio 4 reports one of gr.HTML at each update of the page, so that it never ends.
    for ended in panel.downloads:
        ended.then(names_now, inputs=[*chosen], outputs=lists, show_progress=False)


def names_now(adapter: str | None, encoder: str | None, checkpoint: str | None) -> list[Any]:
    """What the page shows of the chosen files, and the names in the lists of adapters and encoders."""
    lists = [gr.update(choices=names()) for names in (settings.adapter_names, settings.encoder_names)]
    return [*model_hint.shown(adapter, encoder, checkpoint), *lists]


def files_now(adapter: str | None, encoder: str | None, checkpoint: str | None) -> list[Any]:
    """`names_now`, what is missing now, and the list of files to download with the missing one selected."""
    missing = find_missing(model_folders())
    selected = {"value": _label(missing[1])} if missing and missing[1] else {}
    return [*names_now(adapter, encoder, checkpoint), _sentence(), gr.update(choices=_labels(), **selected)]


def download(label: str) -> Iterator[tuple[str, str, Any]]:
    """The button "Download": yield (progress, what is missing, the list's choice) until the download has ended.

    A second press shows the running download. If another file is still missing at the end, the list selects it.
    """
    name = str(label).partition(": ")[0]  # the rest of a label may have changed since the page was opened
    file, running = known_file(name), downloads.progress
    try:
        if file is None:
            raise Refused("download_unknown", got=name, expected=", ".join(file.name for file in _offered()))
        if not (downloads.running and running is not None and running.name == name):
            begin(file)
    except Refused as refusal:
        yield _line(str(refusal)), _sentence(), gr.update()
        return
    while downloads.running:
        yield _progress(downloads.progress), _sentence(), gr.update()
        time.sleep(POLL)
    yield _progress(downloads.progress), _sentence(), _next(downloads.progress)


def begin_only(label: str) -> tuple[str, str, Any]:
    """The button on a page without gradio's queue, which cannot show progress: press again to see it."""
    return next(download(label))


def download_all() -> Iterator[tuple[str, str, Any]]:
    """The button for all missing files: one after another, until one fails or is stopped."""
    for file in missing_files(model_folders()):
        yield from download(_label(file))
        ended = downloads.progress
        if ended is None or ended.name != file.name or ended.state != "done":
            return


def begin_next() -> tuple[str, str, Any]:
    """The same on a page without gradio's queue: each press begins or shows one download."""
    missing = missing_files(model_folders())
    return begin_only(_label(missing[0])) if missing else (_line(ALL_THERE), _sentence(), gr.update())


def end() -> str:
    """The button "Stop"."""
    downloads.stop()
    downloads.wait(2)
    return _progress(downloads.progress)


def _next(ended: Progress | None) -> Any:
    """After a finished download: select the file that is still missing, if any."""
    missing = find_missing(model_folders()) if ended is not None and ended.state == "done" else None
    return gr.update(choices=_labels(), value=_label(missing[1])) if missing and missing[1] else gr.update()


def _offered() -> list[KnownFile]:
    """The files that AnyMS can download safely."""
    return [file for file in KNOWN if file.offered]


def _labels() -> list[str]:
    return [_label(file) for file in _offered()]


def _label(file: KnownFile) -> str:
    remark = f"needs {file.encoder.split('-laion')[0]}" if file.encoder else "image encoder"
    if is_noob_family(file.name):
        remark += ", for Illustrious and NoobAI"
    return f"{file.name}: {file.size / 1e9:.1f} GB, {remark}"


def _sentence() -> str:
    missing = find_missing(model_folders())
    text = str(missing[0]).removeprefix("AnyMS: ") if missing else ALL_THERE
    consent = CONSENT.format(home=mirror(), licences=_licences())
    return _line(text[0].upper() + text[1:]) + _line(consent)


def _licences() -> str:
    """Each licence once, with the files it is for; the first licence is that of all files without a name."""
    files: dict[str, list[str]] = {}
    for file in _offered():
        files.setdefault(file.licence, []).append(file.name)
    first, *others = files
    return "; ".join([first, *(f"{', '.join(files[licence])}: {licence}" for licence in others)])


def _progress(progress: Progress | None) -> str:
    """The progress as HTML: a bar while it runs, then a sentence."""
    if progress is None:
        return _line("No download was started.")
    done, size = progress.done / 1e6, progress.size / 1e6
    if progress.state == "running":
        bar = f'<progress max="100" value="{100 * done / size:.0f}" style="width: 100%"></progress>'
        return f"{bar} {progress.name}: {done:.0f} of {size:.0f} MB"
    sentences = {
        "done": f"{progress.name} is installed; its SHA-256 is right. The next job finds it.",
        "stopped": f"{progress.name}: stopped at {done:.0f} of {size:.0f} MB. Press Download to continue from there.",
        "failed": progress.sentence,
    }
    return _line(sentences[progress.state])


def _line(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
