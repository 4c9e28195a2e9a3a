"""Planted faults of layout."""

from __future__ import annotations

from tests.faults.fault import Fault

ATTENTION = "tests/laws/test_attention.py"
SILHOUETTES = "tests/laws/test_silhouettes.py"
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
    Fault(
        "a silhouette leaves its box",
        "lib_anyms/layout/silhouette.py",
        "for token in inside if shares[token] >= _WHITE]",
        "for token in range(grid.tokens) if shares[token] >= _WHITE]",
        SILHOUETTES,
    ),
    Fault(
        "any white makes a token the silhouette's",
        "lib_anyms/layout/silhouette.py",
        "if shares[token] >= _WHITE]",
        "if shares[token] > 0]",
        SILHOUETTES,
    ),
    Fault(
        "a small silhouette has no token",
        "lib_anyms/layout/silhouette.py",
        " or [whitest] * (shares[whitest] > 0)",
        "",
        f"{SILHOUETTES} -k small_mask",
    ),
    Fault(
        "a small mask is measured by the nearest pixels",
        "lib_anyms/layout/silhouette.py",
        "_PIXELS = 16",
        "_PIXELS = 1",
        f"{SILHOUETTES} -k between_pixels",
    ),
    Fault(
        "a cropped pass has the whole silhouette",
        "lib_anyms/layout/layout.py",
        "self.silhouette.seen_in(viewport)",
        "self.silhouette",
        f"{SILHOUETTES} -k part_of_the_image",
    ),
    Fault(
        "a window has the whole silhouette",
        "lib_anyms/layout/layout.py",
        "return self.silhouette.tokens(box, grid, window)",
        "return self.silhouette.tokens(box, grid)",
        f"{SILHOUETTES} -k part_of_the_image",
    ),
    Fault(
        "a subject whose silhouette lies elsewhere stays in a pass",
        "lib_anyms/layout/layout.py",
        "if box is None or (silhouette is not None and not silhouette.tokens(box, _FINE)):",
        "if box is None:",
        "tests/unit/test_request.py -k silhouette_that_cannot",
    ),
)
