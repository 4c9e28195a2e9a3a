"""Refining: after an image is sampled, one "Only masked" inpainting of each subject, back to front.

Each is a job of the host's own img2img within ours, as ADetailer makes them, so it gets a second look: the image stream
acts in it for that subject alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

from modules import paths, processing, shared
from PIL import Image

from lib_anyms.errors import Noted
from lib_anyms.hosts.inner_job import image_number
from lib_anyms.job.live_sessions import outer_session
from lib_anyms.job.request import Request
from lib_anyms.job.second_look import BLUR, inpainting_size, visible_masks
from lib_anyms.webui import second_look

log = logging.getLogger("anyms")
COPIED = (  # from our job, where it has them
    *("sd_model", "outpath_samples", "outpath_grids", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w"),
    *("sampler_name", "scheduler", "steps", "cfg_scale", "distilled_cfg_scale", "tiling"),
)
PARAMETERS = "params.txt"  # in the host's data folder: the infotext of the last job, for its paste button


def refined(p: Any, image: Image.Image) -> Image.Image:
    """postprocess_image: `image` with each subject refined; the same image where the request does not want that."""
    second_look.end_finished()
    session = outer_session()
    request = session.request if session is not None and session.job is p else None
    if session is None or request is None or not request.refine or not session.acted:
        return image
    assert request.layout is not None  # it acted
    masks = visible_masks(request.layout, image.size, session.viewport)
    shared.state.job_count += len(masks)
    with _parameters_kept(), _status_kept():
        for count, (number, mask) in enumerate(masks.items(), 1):
            name = request.layout.subjects[number].name
            shared.state.textinfo = f"AnyMS refines {name} ({count} of {len(masks)})"
            result = None if _stopped() else _inpainted(p, image, mask, number, request)
            if result is None:
                if _stopped():
                    second_look.note_on_image(session, Noted("refine_stopped", name=name))
                break
            image = result
    return image


def _stopped() -> bool:
    return bool(shared.state.interrupted or shared.state.skipped)


def _inpainted(p: Any, image: Image.Image, mask: Image.Image, number: int, request: Request) -> Image.Image | None:
    """`image` with one subject inpainted; None where the user stopped that, or it failed."""
    job = _job(p, image, mask, request)
    try:
        with second_look.refining(job, number):
            done = processing.process_images(job)
    except Exception as error:  # the host would only log it
        log.exception("AnyMS: refining failed")
        assert request.layout is not None
        name = request.layout.subjects[number].name
        session = outer_session()
        assert session is not None
        note = Noted("refine_failed", name=name, got=f"{type(error).__name__}: {error}")
        second_look.note_on_image(session, note)
        return None
    finally:
        job.close()
    return None if _stopped() or not done.images else done.images[0]


def _job(p: Any, image: Image.Image, mask: Image.Image, request: Request) -> Any:
    """The host's img2img job. It has no always-on scripts, and keeps the image's prompt with its extra networks."""
    kind = processing.StableDiffusionProcessingImg2Img
    width, height = inpainting_size(request, mask)
    job = kind(
        **{name: getattr(p, name) for name in COPIED if hasattr(p, name) and name in kind.__dataclass_fields__},
        **_texts_and_seeds(p),
        **{"init_images": [image.convert("RGB")], "mask": mask, "mask_blur": BLUR, "inpainting_fill": 1},
        **{
            "inpaint_full_res": True,
            "inpaint_full_res_padding": int(request.refine_padding),
            "resize_mode": 0,
            "styles": [],
        },
        **{"width": width, "height": height, "denoising_strength": request.refine, "restore_faces": False},
        **{"batch_size": 1, "n_iter": 1, "do_not_save_samples": True, "do_not_save_grid": True},
    )
    job.cached_c, job.cached_uc = [None, None], [None, None]
    job.scripts = copy(p.scripts)
    if job.scripts is not None:
        job.scripts.alwayson_scripts = []
    job.script_args = list(p.script_args)
    return job


def _texts_and_seeds(p: Any) -> dict[str, Any]:
    """Those of the image that is being finished; the host has applied styles already."""
    iteration, place = image_number(p)
    number = iteration * p.batch_size + place
    lists = {"prompt": p.all_prompts, "negative_prompt": p.all_negative_prompts}
    lists.update({"seed": p.all_seeds, "subseed": p.all_subseeds})
    return {name: values[min(number, len(values) - 1)] for name, values in lists.items()}


@contextlib.contextmanager
def _status_kept() -> Iterator[None]:
    before = shared.state.textinfo
    try:
        yield
    finally:
        shared.state.textinfo = before


@contextlib.contextmanager
def _parameters_kept() -> Iterator[None]:
    """A job within ours writes its infotext there, too."""
    file = Path(paths.data_path) / PARAMETERS
    before = file.read_bytes() if file.is_file() else None
    try:
        yield
    finally:
        if before is not None:
            file.write_bytes(before)
