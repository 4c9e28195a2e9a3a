"""The viewport of each kind of job, from a host's `p`. The fields have the values that A1111 and Forge set."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_anyms.errors import SteppedAside
from lib_anyms.hosts.viewport import running_script, viewport_of
from lib_anyms.layout.geometry import WHOLE, Viewport

TITLES = ("X/Y/Z plot", "SD upscale", "Ultimate SD upscale", "Outpainting mk2", "Poor man's outpainting", "Loopback")


def job(script: str = "", **fields: Any) -> SimpleNamespace:
    """A host's `p`; the first script argument is the number of the chosen script."""
    scripts = SimpleNamespace(selectable_scripts=[SimpleNamespace(title=lambda title=title: title) for title in TITLES])
    number = TITLES.index(script) + 1 if script else 0
    return SimpleNamespace(
        scripts=scripts, script_args=(number, "", False), **{"is_hr_pass": False, "paste_to": None, **fields}
    )


def txt2img(**fields: Any) -> SimpleNamespace:
    return job(
        **{
            "width": 192,
            "height": 128,
            "hr_upscale_to_x": 0,
            "hr_upscale_to_y": 0,
            "truncate_x": 0,
            "truncate_y": 0,
            **fields,
        }
    )


def img2img(size: tuple[int, int] = (384, 256), script: str = "", **fields: Any) -> SimpleNamespace:
    """inpaint_full_res is on by default in the hosts' jobs, also without a mask."""
    init = {"init_images": [Image.new("RGB", size)], "image_mask": None, "inpaint_full_res": True, "resize_mode": 0}
    return job(script, **{"width": 192, "height": 128, **init, **fields})


def masked(size: tuple[int, int], paste_to: tuple[int, int, int, int], **fields: Any) -> SimpleNamespace:
    return img2img(size, **{"image_mask": Image.new("L", size), "paste_to": paste_to, **fields})


def edges(viewport: Viewport) -> tuple[float, float, float, float]:
    return viewport.x0, viewport.y0, viewport.x1, viewport.y1


# -- the whole image ---------------------------------------------------------------------------------------------------


def test_txt2img_renders_the_whole_image() -> None:
    assert viewport_of(txt2img()) == WHOLE


@pytest.mark.parametrize("resize_mode", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(384, 256), (200, 400), (64, 64)])
def test_no_resize_mode_moves_a_box(resize_mode: int, size: tuple[int, int]) -> None:
    assert viewport_of(img2img(size, resize_mode=resize_mode)) == WHOLE


def test_inpainting_of_the_whole_image_moves_no_box() -> None:
    assert viewport_of(img2img(image_mask=Image.new("L", (384, 256)), inpaint_full_res=False)) == WHOLE


def test_fields_left_by_an_earlier_pass_are_ignored() -> None:
    """img2img batch uses one job for all images; a blank mask turns `inpaint_full_res` off but keeps `paste_to`."""
    left = (10, 10, 96, 64)
    assert viewport_of(masked((384, 256), left, inpaint_full_res=False)) == WHOLE
    assert viewport_of(masked((384, 256), left, image_mask=None)) == WHOLE


def test_a_job_with_fewer_fields_renders_the_whole_image() -> None:
    assert viewport_of(SimpleNamespace()) == WHOLE
    assert viewport_of(SimpleNamespace(script_args={}, scripts=None)) == WHOLE


# -- only masked -------------------------------------------------------------------------------------------------------


def coordinates(size: tuple[int, int]) -> list[Image.Image]:
    """Two images whose pixel values are their x and y coordinates."""
    columns, rows = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return [Image.fromarray(values.astype(np.float32)) for values in (columns, rows)]


# (init image, size of the pass, region of a mask by the hosts' masking.py)
REGIONS = [
    ((384, 256), (192, 128), (192, 0, 192, 128)),
    ((384, 256), (192, 128), (168, 8, 216, 144)),  # with padding
    ((384, 256), (192, 128), (288, 64, 96, 64)),
    ((384, 256), (192, 128), (0, 0, 384, 256)),
    ((2048, 2048), (512, 512), (480, 992, 576, 576)),
    ((384, 256), (128, 128), (10, 0, 370, 256)),  # too wide to be made square: margins above and below
    ((200, 400), (192, 128), (0, 12, 200, 386)),  # too high: margins left and right
    ((1537, 1031), (512, 512), (3, 0, 1497, 1031)),
]


@pytest.mark.parametrize(("size", "shown", "region"), REGIONS)
def test_only_masked_renders_the_region_as_the_host_fits_it(
    size: tuple[int, int], shown: tuple[int, int], region: tuple[int, int, int, int]
) -> None:
    """Compared with an image of coordinates, cropped and fitted as hosts do it: as large as it fits, centred."""
    viewport = viewport_of(masked(size, region, width=shown[0], height=shown[1]))
    left, top, wide, high = region
    largest = min(shown[0] / wide, shown[1] / high)
    fitted = (min(shown[0], int(wide * largest + 1e-6)), min(shown[1], int(high * largest + 1e-6)))
    corner = (shown[0] // 2 - fitted[0] // 2, shown[1] // 2 - fitted[1] // 2)
    for axis, picture in enumerate(coordinates(size)):
        low, high_ = (viewport.x0, viewport.x1) if axis == 0 else (viewport.y0, viewport.y1)
        fitted_picture = np.asarray(
            picture.crop((left, top, left + wide, top + high)).resize(fitted, Image.Resampling.BILINEAR)
        )
        line = fitted_picture[fitted[1] // 2] if axis == 0 else fitted_picture[:, fitted[0] // 2]
        for place in (len(line) // 4, len(line) // 2, 3 * len(line) // 4):
            at = (corner[axis] + place + 0.5) / shown[axis]  # in fractions of the pass
            assert (low + at * (high_ - low)) * size[axis] == pytest.approx(line[place], abs=0.05)


def test_a_region_of_the_pass_s_aspect_is_the_viewport() -> None:
    assert edges(viewport_of(masked((384, 256), (192, 0, 192, 128)))) == (0.5, 0, 1, 0.5)
    assert edges(viewport_of(masked((384, 256), (288, 64, 96, 64)))) == (0.75, 0.25, 1, 0.5)


def test_margins_lie_beyond_the_image() -> None:
    viewport = viewport_of(masked((384, 256), (10, 0, 370, 256), width=128, height=128))
    assert (viewport.x0, viewport.x1) == (10 / 384, 380 / 384)
    assert viewport.y0 < -0.1
    assert viewport.y1 > 1.1


def test_several_init_images() -> None:
    one, other = Image.new("RGB", (384, 256)), Image.new("RGB", (256, 256))
    assert edges(viewport_of(masked((384, 256), (192, 0, 192, 128), init_images=[one, one.copy()]))) == (0.5, 0, 1, 0.5)
    with pytest.raises(SteppedAside, match="256x256, 384x256") as aside:
        viewport_of(masked((384, 256), (192, 0, 192, 128), init_images=[one, other]))
    assert aside.value.cause == "sizes_differ"


# -- hires fix ---------------------------------------------------------------------------------------------------------


def test_the_first_pass_renders_the_whole_image_with_any_second_pass() -> None:
    assert viewport_of(txt2img(hr_upscale_to_x=384, hr_upscale_to_y=256, truncate_x=16)) == WHOLE


@pytest.mark.parametrize("scale", [1.05, 1.5, 2])
def test_hires_of_the_same_aspect_renders_the_whole_image(scale: float) -> None:
    wide, high = int(192 * scale), int(128 * scale)
    assert viewport_of(txt2img(is_hr_pass=True, hr_upscale_to_x=wide, hr_upscale_to_y=high)) == WHOLE


@pytest.mark.parametrize("cells", [0, 1, 2, 15, 16, 17])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_hires_of_another_aspect_renders_the_host_s_crop(cells: int, axis: str) -> None:
    """Compared with the hosts' slice of the enlarged latent, on a line of numbered cells."""
    side = 48
    left = [*range(side)][cells // 2 : side - (cells + 1) // 2]
    p = txt2img(is_hr_pass=True, **{"hr_upscale_to_x": 384, "hr_upscale_to_y": 384, f"truncate_{axis}": cells})
    viewport = viewport_of(p)
    cut = (left[0] / side, (left[-1] + 1) / side)
    assert ((viewport.x0, viewport.x1), (viewport.y0, viewport.y1)) == ((cut, (0, 1)) if axis == "x" else ((0, 1), cut))


# -- scripts that make an image in parts -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["SD upscale", "Outpainting mk2", "Poor man's outpainting"])
def test_parts_at_unknown_places_make_the_job_step_aside(script: str) -> None:
    tile = Image.new("RGB", (192, 128))
    for p in (img2img(script=script), masked((384, 256), (0, 0, 192, 128), script=script, init_images=[tile])):
        with pytest.raises(SteppedAside, match=f"the script {script} makes") as aside:
            viewport_of(p)
        assert aside.value.cause == "parts_unknown"


@pytest.mark.parametrize("script", ["X/Y/Z plot", "Loopback"])
def test_scripts_that_make_whole_images_change_nothing(script: str) -> None:
    assert viewport_of(img2img(script=script)) == WHOLE
    assert edges(viewport_of(masked((384, 256), (192, 0, 192, 128), script=script))) == (0.5, 0, 1, 0.5)


def test_each_tile_of_ultimate_sd_upscale_has_its_viewport() -> None:
    """It inpaints the enlarged image, "Only masked", one rectangle per tile, on one job whose fields it sets."""
    p = masked((2048, 2048), (480, 992, 576, 576), script="Ultimate SD upscale", width=512, height=512)
    assert edges(viewport_of(p)) == (480 / 2048, 992 / 2048, 1056 / 2048, 1568 / 2048)


def test_the_chosen_script_is_known_by_its_number() -> None:
    p = job("Loopback")
    assert running_script(p) == "Loopback"
    for arguments in ((0,), (), None, {}, {"0": 1}, (99,), (-1,), ("1",), (None,)):
        p.script_args = arguments
        assert running_script(p) == ""


def test_nothing_is_left_on_the_job() -> None:
    jobs = [txt2img(is_hr_pass=True, hr_upscale_to_x=384, hr_upscale_to_y=384, truncate_y=16), masked(*REGIONS[1][::2])]
    for p in jobs:
        before = deepcopy({name: value for name, value in vars(p).items() if name != "scripts"})
        first = viewport_of(p)
        assert viewport_of(p) == first  # Forge calls twice
        assert {name: value for name, value in vars(p).items() if name != "scripts"} == before
