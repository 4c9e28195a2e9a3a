"""Planted faults of layout."""

from __future__ import annotations

from tests.faults.fault import Fault

ATTENTION = "tests/laws/test_attention.py"
GEOMETRY = "tests/laws/test_geometry.py"
STREAM = "tests/laws/test_image_stream.py tests/laws/test_layers.py"

FAULTS = (
    Fault(
        "positions from before stay in the prompt",
        "lib_anyms/layout/positions.py",
        'edits.append(((match.end(1), match.end()), f" {phrase}" if phrase else ""))',
        'edits.append(((match.end(1), match.end(1)), f" {phrase}" if phrase else ""))',
        "tests/unit/test_editor_cases.py -k positions",
    ),
    Fault(
        "elsewhere keeps the position of a subject",
        "lib_anyms/layout/elsewhere.py",
        'r"\\1", prompt, flags',
        'r"\\g<0>", prompt, flags',
        "tests/unit/test_words.py -k proposal",
    ),
    Fault(
        "owner map inverted",
        "lib_anyms/layout/layout.py",
        "enumerate(self.box_tokens(grid, window)):\n            for token",
        "reversed([*enumerate(self.box_tokens(grid, window))]):\n            for token",
        ATTENTION,
    ),
    Fault(
        "x and y swapped",
        "lib_anyms/layout/geometry.py",
        "left, right = _span(self.x0, self.x1, grid.width)",
        "left, right = _span(self.y0, self.y1, grid.width)",
        ATTENTION,
    ),
    Fault(
        "floor instead of half up", "lib_anyms/layout/geometry.py", "_HALF_UP = 0.5 + 1e-9", "_HALF_UP = 1e-9", GEOMETRY
    ),
    Fault(
        "half a token rounded down",
        "lib_anyms/layout/geometry.py",
        "_HALF_UP = 0.5 + 1e-9",
        "_HALF_UP = 0.5 - 1e-6",
        GEOMETRY,
    ),
    Fault(
        "thin boxes lose their token",
        "lib_anyms/layout/geometry.py",
        "return middle, middle + 1",
        "return first, last",
        GEOMETRY,
    ),
    Fault(
        "odd grids halved by floor",
        "lib_anyms/layout/geometry.py",
        "(self.height + 1) // 2, (self.width + 1) // 2",
        "self.height // 2, self.width // 2",
        GEOMETRY,
    ),
    Fault(
        "rows counted with the grid's height",
        "lib_anyms/layout/geometry.py",
        "range(row * grid.width + self.left, row * grid.width + self.right)",
        "range(row * grid.height + self.left, row * grid.height + self.right)",
        ATTENTION,
    ),
    Fault(
        "start and end ignored",
        "lib_anyms/layout/layout.py",
        "return self.start <= progress < self.end",
        "return True",
        STREAM + " -k start",
    ),
    Fault(
        "unknown fields swallowed",
        "lib_anyms/layout/fields.py",
        'raise Refused("field_unknown"',
        'Refused("field_unknown"',
        "tests/unit/test_request.py",
    ),
    Fault(
        "percent and pixels are clipped to the whole image",
        "lib_anyms/layout/geometry.py",
        "if any(math.inf > abs(number) > _FAR for number in value):",
        "if value is None:",
        "tests/unit/test_layout.py -k percent",
    ),
    Fault(
        "subjects are counted after they are read",
        "lib_anyms/layout/layout.py",
        'if len(value["subjects"]) > MAX_SUBJECTS:',
        "if value is None:",
        "tests/unit/test_layout.py -k counted_before",
    ),
    Fault(
        "a version in quotes passes",
        "lib_anyms/layout/fields.py",
        "return value == expected and not isinstance(value, bool)",
        "return str(value) == str(expected)",
        "tests/unit/test_request.py -k version_that",
    ),
)
