"""Test only: POST /anyms-probe/known-file gives a downloadable file a small test content."""

from __future__ import annotations

from fastapi import Body
from modules import script_callbacks


def change(name: str = Body(), size: int = Body(), sha256: str = Body(), gives: tuple = Body()) -> dict:
    """`gives`: [kind of adapter, width] of an encoder -> the values before."""
    from lib_anyms.models.known_files import known_file  # the extension's path is known by now

    row = known_file(name)
    before = {"name": name, "size": row.size, "sha256": row.sha256, "gives": row.gives}
    for field, value in (("size", size), ("sha256", sha256), ("gives", tuple(map(tuple, gives)))):
        object.__setattr__(row, field, value)  # in place: many modules hold this object
    return before


script_callbacks.on_app_started(
    lambda _demo, app: app.add_api_route("/anyms-probe/known-file", change, methods=["POST"])
)
