"""The published schema agrees with the reader."""

from __future__ import annotations

from typing import Any

import pytest

from lib_anyms.errors import Refused
from lib_anyms.job.schema import request_schema
from lib_anyms.layout.fields import REQUEST_FIELDS, Field, read_fields
from lib_anyms.layout.layout import SUBJECT_FIELDS


def fields() -> list[tuple[Field, dict[str, Any]]]:
    schema = request_schema()
    subject = schema["properties"]["subjects"]["items"]["properties"]
    return [
        *((field, schema["properties"][field.name]) for field in REQUEST_FIELDS),
        *((field, subject[field.name]) for field in SUBJECT_FIELDS),
    ]


def accepts(field: Field, value: Any) -> bool:
    try:
        read_fields((field,), {field.name: value}, "a test")
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("field", "schema"), fields(), ids=lambda value: value.name if isinstance(value, Field) else ""
)
def test_every_field_has_the_bounds_of_its_reader(field: Field, schema: dict[str, Any]) -> None:
    assert schema["default"] == field.default
    assert accepts(field, schema["default"])
    if schema.get("type") == "number":
        assert [accepts(field, value) for value in (schema["minimum"], schema["maximum"])] == [True, True]
        assert [accepts(field, value) for value in (schema["minimum"] - 0.01, schema["maximum"] + 0.01)] == [
            False,
            False,
        ]
    elif schema.get("type") == "string":
        assert accepts(field, "x" * schema["maxLength"])
        assert not accepts(field, "x" * (schema["maxLength"] + 1))
    elif "enum" in schema:
        assert all(accepts(field, value) for value in schema["enum"])
        assert not accepts(field, "something else")
    else:
        assert schema["type"] == "boolean"
        assert not accepts(field, 1)


def test_the_schema_refuses_unknown_names_like_the_reader() -> None:
    schema = request_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"]["subjects"]["items"]["additionalProperties"] is False
    assert set(schema["properties"]) == {"version", "subjects", *(field.name for field in REQUEST_FIELDS)}
