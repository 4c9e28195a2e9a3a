"""Test only: redraws an img2img picture in tiles, each an "Only masked" job, as Ultimate SD upscale does."""

from __future__ import annotations

from modules import processing, scripts
from PIL import Image


class TilesScript(scripts.Script):
    def title(self) -> str:
        return "AnyMS test tiles"

    def show(self, is_img2img):
        return is_img2img

    def ui(self, is_img2img):
        return []

    def run(self, p):
        picture = p.init_images[0]
        p.inpaint_full_res, p.inpaint_full_res_padding, p.mask_blur, p.inpainting_fill = True, 0, 0, 1
        for top in range(0, picture.height, p.height):
            for left in range(0, picture.width, p.width):
                mask = Image.new("L", picture.size, 0)
                mask.paste(255, (left, top, left + p.width, top + p.height))
                p.init_images, p.image_mask = [picture], mask
                processed = processing.process_images(p)
                picture = processed.images[0]
        return processed
