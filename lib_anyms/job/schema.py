"""The request of docs/api.md as a JSON Schema, from the same fields that read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lib_anyms.cards.card import MAX_BYTES
from lib_anyms.ip_adapter.references import MAX_BYTES as PICTURE_BYTES
from lib_anyms.job.pictures import MAX_PICTURES, PICTURE_KEYS
from lib_anyms.job.request import MAX_NAME, VERSION
from lib_anyms.layout.fields import REQUEST_FIELDS, Field
from lib_anyms.layout.layout import CARD, HASHES, MAX_SUBJECTS, SILHOUETTE, SUBJECT_FIELDS

_BASE64_LENGTH = PICTURE_BYTES * 4 // 3 + 128  # with room for a data: head


def request_schema() -> dict[str, Any]:
    """JSON Schema 2020-12."""
    subjects = {
        "type": "array",
        "maxItems": MAX_SUBJECTS,
        "items": _subject_schema(),
        "description": "back to front, in this order: where boxes overlap, the last one wins",
    }
    version = {"const": VERSION, "default": VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AnyMS request",
        **_object({"version": version, **_fields(REQUEST_FIELDS), "subjects": subjects}, []),
    }


def _subject_schema() -> dict[str, Any]:
    base64 = {"type": "string", "contentEncoding": "base64", "maxLength": _BASE64_LENGTH}
    edges = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    properties = {
        "box": {
            **edges,
            "description": "x0, y0, x1, y1 in fractions of the image, y down; parts beyond the edge are clipped",
        },
        "images": {
            "type": "array",
            "items": _picture_schema(base64, edges),
            "minItems": 1,
            "maxItems": MAX_PICTURES,
            "description": "reference pictures",
        },
        CARD: {
            "type": "string",
            "maxLength": MAX_BYTES * 4 // 3 + 128,
            "description": "in place of images: a subject card as base64, or its name in the library "
            f"(at most {MAX_NAME} characters)",
        },
        SILHOUETTE: {
            **base64,
            "description": "a mask of the whole image, white where the subject is; box may then be left out",
        },
        **_fields(SUBJECT_FIELDS),
        HASHES: {"type": "array", "items": {"type": "string"}, "description": "of an infotext; ignored"},
    }
    return {**_object(properties, ["box"]), "oneOf": [{"required": ["images"]}, {"required": [CARD]}]}


def _picture_schema(base64: dict[str, Any], edges: dict[str, Any]) -> dict[str, Any]:
    """A picture as base64, or as an object with what to use of it."""
    parts = dict(zip(PICTURE_KEYS, (base64, base64, edges)))
    description = "the picture where the mask is white, cropped"
    return {"anyOf": [base64, {**_object(parts, ["data"]), "description": description}]}


def _fields(table: Iterable[Field]) -> dict[str, Any]:
    return {field.name: field.schema() for field in table}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
