"""A request as a part of the image has it, in plain arithmetic."""

from __future__ import annotations

from typing import Any

Part = tuple[float, float, float, float]  # left, top, right, bottom in fractions of the image


def within(request: dict[str, Any], part: Part) -> dict[str, Any] | None:
    """The request with its boxes in fractions of `part`; None where no subject is there."""
    left, top, right, bottom = part
    subjects = []
    for each in request["subjects"]:
        x0, y0, x1, y1 = each["box"]
        if x0 < right and x1 > left and y0 < bottom and y1 > top:
            wide, high = right - left, bottom - top
            box = [(x0 - left) / wide, (y0 - top) / high, (x1 - left) / wide, (y1 - top) / high]
            subjects.append({**each, "box": box})
    return {**request, "subjects": subjects} if subjects else None
