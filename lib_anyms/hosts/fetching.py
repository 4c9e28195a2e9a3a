"""Downloads of model files in a WebUI: the address, the folder, and no download while the host generates."""

from __future__ import annotations

from lib_anyms.hosts.webui import MODEL_FOLDERS, generating, model_folders
from lib_anyms.models.downloads import Progress, downloads
from lib_anyms.models.known_files import HOME, KnownFile

MIRROR = "anyms_mirror"  # a setting


def mirror() -> str:
    """The address to download model files from."""
    from modules import shared

    return str(getattr(shared.opts, MIRROR, "") or HOME).strip()


def queued() -> bool:
    """Whether the page can show progress. It needs gradio's queue, which a flag turns off."""
    from modules import shared

    return not getattr(shared.cmd_opts, "no_gradio_queue", False)


def begin(file: KnownFile) -> Progress:
    """Start the download of `file` into the host's models folder. Raises Refused."""
    folders = {folder.name: folder for folder in model_folders()[: len(MODEL_FOLDERS)]}
    return downloads.start(file, folders[file.folder], mirror(), generating)
