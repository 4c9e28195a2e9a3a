"""The layout drawn on a picture: every box with its number and name, the topmost drawn last."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from lib_anyms.layout import Layout

# Okabe and Ito's colours, told apart with every kind of colour vision
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")


def draw_layout(picture: Image.Image, layout: Layout) -> Image.Image:
    """A copy of `picture` with the boxes drawn on it."""
    drawn = picture.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    width, height = drawn.size
    line = max(2, round(min(width, height) / 200))
    font = ImageFont.load_default()
    for number, subject in enumerate(layout.subjects):
        box, colour = subject.box, COLOURS[number % len(COLOURS)]
        left, top, right, bottom = box.x0 * width, box.y0 * height, box.x1 * width - 1, box.y1 * height - 1
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
        text = f"{number + 1} {subject.name}"
        extent = draw.textbbox((left + 2 * line, top + 2 * line), text, font=font)
        draw.rectangle((extent[0] - line, extent[1] - line, extent[2] + line, extent[3] + line), fill=colour)
        draw.text((left + 2 * line, top + 2 * line), text, fill="black", font=font)
    return drawn
