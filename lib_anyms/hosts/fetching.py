"""A download in a WebUI: where from, where to, and not while the host makes a picture."""

from __future__ import annotations

from lib_anyms.hosts.webui import MODEL_FOLDERS, generating, model_folders
from lib_anyms.models.downloads import Progress, downloads
from lib_anyms.models.known_files import HOME, KnownFile

MIRROR = "anyms_mirror"  # a setting


def mirror() -> str:
    """The address model files are fetched from."""
    from modules import shared

    return str(getattr(shared.opts, MIRROR, "") or HOME).strip()


def queued() -> bool:
    """Whether the page can show progress: gradio's queue, which a flag turns off, is what does."""
    from modules import shared

    return not getattr(shared.cmd_opts, "no_gradio_queue", False)


def begin(file: KnownFile) -> Progress:
    """Start to fetch the file into the host's models folder. Raises Refused."""
    places = {folder.name: folder for folder in model_folders()[: len(MODEL_FOLDERS)]}
    return downloads.start(file, places[file.folder], mirror(), generating)
