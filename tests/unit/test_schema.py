"""The published schema says what the reader does."""

from __future__ import annotations

from typing import Any

import pytest

from lib_anyms.errors import Refused
from lib_anyms.job.schema import request_schema
from lib_anyms.layout.fields import REQUEST_FIELDS, Field, read_fields
from lib_anyms.layout.layout import SUBJECT_FIELDS


def rows() -> list[tuple[Field, dict[str, Any]]]:
    schema = request_schema()
    subject = schema["properties"]["subjects"]["items"]["properties"]
    return [
        *((row, schema["properties"][row.name]) for row in REQUEST_FIELDS),
        *((row, subject[row.name]) for row in SUBJECT_FIELDS),
    ]


def accepts(row: Field, value: Any) -> bool:
    try:
        read_fields((row,), {row.name: value}, "a test")
    except Refused:
        return False
    return True


@pytest.mark.parametrize(("row", "told"), rows(), ids=lambda each: each.name if isinstance(each, Field) else "")
def test_every_row_is_bounded_where_its_reader_bounds_it(row: Field, told: dict[str, Any]) -> None:
    assert told["default"] == row.default
    assert accepts(row, told["default"])
    if told.get("type") == "number":
        assert [accepts(row, value) for value in (told["minimum"], told["maximum"])] == [True, True]
        assert [accepts(row, value) for value in (told["minimum"] - 0.01, told["maximum"] + 0.01)] == [False, False]
    elif told.get("type") == "string":
        assert accepts(row, "x" * told["maxLength"])
        assert not accepts(row, "x" * (told["maxLength"] + 1))
    elif "enum" in told:
        assert all(accepts(row, value) for value in told["enum"])
        assert not accepts(row, "something else")
    else:
        assert told["type"] == "boolean"
        assert not accepts(row, 1)


def test_unknown_names_are_refused_as_the_schema_says() -> None:
    schema = request_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"]["subjects"]["items"]["additionalProperties"] is False
    assert set(schema["properties"]) == {"version", "subjects", *(row.name for row in REQUEST_FIELDS)}
