"""Planted faults: each is one wrong line in a copy of the source, and must turn a test red.

`python tests/faults.py [--only NAME] [--unplanted]` prints a line a fault, as many at once as there are cores; exit 0 only if
every one was caught. --unplanted is the counter-check: nothing is planted, and no test may fail.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("lib_anyms", "scripts", "tests", "pyproject.toml", "javascript", "style.css")
# Most of what a test takes is importing these. So they are imported once, and each fault's process is a fork of the one that did.
HEAVY = ("numpy", "torch", "transformers", "diffusers", "PIL.Image")
_FORKS = "forkserver" in multiprocessing.get_all_start_methods()  # Windows starts each process anew


@dataclass(frozen=True)
class Fault:
    """`right` stands once in `file` and becomes `wrong`; one of `tests` must fail."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


ATTENTION, STREAM = "tests/laws/test_attention.py", "tests/laws/test_image_stream.py tests/laws/test_layers.py"
ONE_CALL = "tests/laws/test_fused.py"
GEOMETRY, SESSION, TOKENS = "tests/laws/test_geometry.py", "tests/unit/test_session.py", "tests/unit/test_tokens.py"

FAULTS = (
    Fault(
        "evaluation: a WebUI makes other cells than the quick suite's",
        "lib_anyms/lab/evaluation/scenes.py",
        "for row in _QUICK),  # a WebUI makes one picture at a time",
        "for row in _QUICK[:1]),",
        "tests/lab/test_evaluation_scenes.py -k suites",
    ),
    Fault(
        "a card's tokens are taken for another adapter",
        "lib_anyms/cards/card.py",
        "next((each for each in self.encodings if each.adapter == fingerprint), None)",
        "self.encodings[0]",
        "tests/unit/test_card_making.py -k another_adapter",
    ),
    Fault(
        "a card's numbers may be none",
        "lib_anyms/cards/card.py",
        "if not torch.isfinite(tokens).all():",
        "if False:",
        "tests/unit/test_cards.py -k sound",
    ),
    Fault(
        "a card may hold what nobody looked at",
        "lib_anyms/cards/card.py",
        "    if stored:\n",
        "    if False:\n",
        "tests/unit/test_cards.py -k sound",
    ),
    Fault(
        "a link leads out of the card library",
        "lib_anyms/cards/library.py",
        "if path.is_file() and path.resolve().parent == home:",
        "if path.is_file():",
        "tests/unit/test_cards.py -k link",
    ),
    Fault(
        "a saved card replaces another",
        "lib_anyms/cards/library.py",
        "if name.casefold() not in taken)",
        "if name)",
        "tests/unit/test_cards.py -k kept_listed",
    ),
    Fault(
        "an encoder is wanted for cards",
        "lib_anyms/job/session.py",
        "if all(request.cards):",
        "if False:",
        "tests/unit/test_card_making.py -k no_encoder",
    ),
    Fault(
        "a card beside pictures comes in another subject's place",
        "lib_anyms/job/encoding.py",
        "next(rest) if card is None else card.tokens.to(device) for card in carded",
        "next(rest) if card is None else card.tokens.to(device) for card in reversed(carded)",
        "tests/unit/test_card_making.py -k very_picture",
    ),
    Fault(
        "an infotext forgets the card",
        "lib_anyms/job/request.py",
        "{CARD: card.hash} if card else",
        "{HASHES: []} if card else",
        "tests/unit/test_card_making.py -k infotext",
    ),
    Fault(
        "a pressed card is put into no slot",
        "javascript/anyms/host/cards.mjs",
        "file: button.dataset.card",
        "file: button.dataset.as",
        "tests/unit/test_javascript.py -k cards",
    ),
    Fault(
        "the middle is cut before the picture is resized",
        "lib_anyms/ip_adapter/references.py",
        "LONGEST = 4 ",
        "LONGEST = 1 ",
        "tests/unit/test_references.py -k transformers_own",
    ),
    Fault(
        "a mask is used upside down",
        "lib_anyms/ip_adapter/cutting.py",
        'return Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size, BACKGROUND), share)',
        'return Image.composite(Image.new("RGB", picture.size, BACKGROUND), picture.convert("RGB"), share)',
        "tests/unit/test_references.py -k mask",
    ),
    Fault(
        "rembg fetches a model by itself",
        "lib_anyms/ip_adapter/cutting.py",
        '{"download_models": classmethod(lambda *_, **__: str(path))}',
        "{}",
        "tests/unit/test_references.py -k background",
    ),
    Fault(
        "rembg without its runtime ends the WebUI",
        "lib_anyms/ip_adapter/cutting.py",
        "    import onnxruntime  # noqa: F401",
        "    import math  # noqa: F401",
        "tests/unit/test_references.py -k runtime",
    ),
    Fault(
        "a newer rembg's models are not found",
        "lib_anyms/ip_adapter/cutting.py",
        'newer / "models" / name / f"{name}.onnx"',
        'newer / f"{name}.onnx"',
        "tests/unit/test_references.py -k each_version",
    ),
    Fault(
        "a card's name is made a path of",
        "lib_anyms/cards/library.py",
        "named = next((path for path in paths.values() if name in (path.name, path.stem)), None)",
        "named = next((path for path in [self.folder / name] if path.is_file()), None)",
        "tests/unit/test_cards.py -k leads_out",
    ),
    Fault(
        "upper and lower case are two cards' names",
        "lib_anyms/cards/library.py",
        "taken = {path.name.casefold() for",
        "taken = {path.name for",
        "tests/unit/test_cards.py -k through_a_link",
    ),
    Fault(
        "cutting: the page cuts at other pixels than the server",
        "javascript/anyms/model/mask.mjs",
        "Math.floor(high * side + 0.5)",
        "Math.floor(high * side)",
        "tests/unit/test_javascript.py -k cutting.test",
    ),
    Fault(
        "cutting: the page reads a mask upside down",
        "javascript/anyms/model/mask.mjs",
        "pixels[at + 3] = 255 - (transparent",
        "pixels[at + 3] = 0 + (transparent",
        "tests/unit/test_javascript.py -k cutting.test",
    ),
    Fault(
        "cutting: a card's thumbnail is cut as if it were the subject",
        "javascript/anyms/model/mask.mjs",
        ";card=/.test(address)",
        ";none=/.test(address)",
        "tests/unit/test_javascript.py -k cutting.test",
    ),
    Fault(
        "cutting: an answer does not say to which question",
        "lib_anyms/webui/ui/cutting.py",
        'json.dumps({"count": count, **told})',
        'json.dumps({"count": 0, **told})',
        "tests/unit/test_cutting_panel.py",
    ),
    Fault(
        "a sentence quotes a whole picture",
        "lib_anyms/errors.py",
        "return fact if len(text) <= high else",
        "return fact if len(text) <= 10**9 else",
        "tests/unit/test_no_contents.py -k wrong_place",
    ),
    Fault(
        "a refused job's log holds its pictures",
        "lib_anyms/webui/ui/panel.py",
        "        unshown(pictures)\n",
        "",
        "tests/unit/test_no_contents.py -k not_printed",
    ),
    Fault(
        "a card is written through a link",
        "lib_anyms/cards/library.py",
        "        half.unlink(missing_ok=True)\n        half.touch(exist_ok=False)",
        "        half.touch()",
        "tests/unit/test_cards.py -k through_a_link",
    ),
    Fault(
        "downloads: the list's words are taken for the file's name",
        "lib_anyms/webui/ui/files.py",
        '.partition(": ")[0]',
        '.partition("|")[0]',
        "tests/unit/test_files_panel.py -k next_job",
    ),
    Fault(
        "owner map inverted",
        "lib_anyms/layout/layout.py",
        "enumerate(self.subjects):\n            for token",
        "reversed([*enumerate(self.subjects)]):\n            for token",
        ATTENTION,
    ),
    Fault(
        "whole boxes merged instead of visible tokens",
        "lib_anyms/engine/region_merge.py",
        "crops_of(self.layout.visible_tokens(grid)",
        "crops_of(self.layout.box_tokens(grid)",
        STREAM + " -k idle",
    ),
    Fault(
        "x and y swapped",
        "lib_anyms/layout/geometry.py",
        "left, right = _span(self.x0, self.x1, grid.width)",
        "left, right = _span(self.y0, self.y1, grid.width)",
        ATTENTION,
    ),
    Fault("floor instead of half up", "lib_anyms/layout/geometry.py", "_HALF_UP = 0.5 + 1e-9", "_HALF_UP = 1e-9", GEOMETRY),
    Fault(
        "half a token rounded down", "lib_anyms/layout/geometry.py", "_HALF_UP = 0.5 + 1e-9", "_HALF_UP = 0.5 - 1e-6", GEOMETRY
    ),
    Fault(
        "thin boxes lose their token", "lib_anyms/layout/geometry.py", "return middle, middle + 1", "return first, last", GEOMETRY
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
        "cond and uncond swapped",
        "lib_anyms/engine/region_merge.py",
        "for part, is_cond in rows.runs if is_cond or nobody]",
        "for part, is_cond in rows.runs if not is_cond or nobody]",
        STREAM + " -k cond_only",
    ),
    Fault(
        "cond and uncond swapped where all rows go at once",
        "lib_anyms/engine/fused.py",
        "if conditional or nobody is None",
        "if not conditional or nobody is None",
        ONE_CALL,
    ),
    Fault(
        "subjects see each other's tokens at once", "lib_anyms/engine/fused.py", "slice(*place)] = 0", "place[0] :] = 0", ONE_CALL
    ),
    Fault(
        "the profiler's files are not written",
        "lib_anyms/lab/bench/jobs.py",
        "if traces is not None:",
        "if False:",
        "tests/lab/test_bench.py -k gpu_suite",
    ),
    Fault(
        "a busy machine is taken for slow layers",
        "lib_anyms/lab/bench/timing.py",
        'return time.thread_time if device == "cpu" and',
        'return time.thread_time if device == "" and',
        "tests/lab/test_bench.py -k clock",
    ),
    Fault(
        "subjects of one weight alone see the unconditional set",
        "lib_anyms/engine/attention.py",
        "torch.cat([crop.rows for crop in same])",
        "same[0].rows",
        ONE_CALL + " -k whole",
    ),
    Fault(
        "a mask kept from other rows",
        "lib_anyms/engine/region_merge.py",
        "if self._last is not None and self._last[0] == key:",
        "if self._last is not None and self._last[0][:1] == key[:1]:",
        ONE_CALL + " -k calls",
    ),
    Fault(
        "a neighbour's tensor written to",
        "lib_anyms/engine/image_stream.py",
        "if not alone:",
        "if False:",
        ONE_CALL + " -k neighbour",
    ),
    Fault(
        "everything conditional",
        "lib_anyms/engine/cond_map.py",
        "row == 0 or flag != self.is_cond[row - 1]",
        "row == 0",
        STREAM + " -k 'cond or batch'",
    ),
    Fault(
        "middle block second",
        "lib_anyms/engine/layer_map.py",
        '"output_blocks": 1,\n    "up_blocks": 1,\n    "middle_block": 2,\n    "mid_block": 2,',
        '"output_blocks": 2,\n    "up_blocks": 2,\n    "middle_block": 1,\n    "mid_block": 1,',
        "tests/unit/test_layer_map.py",
    ),
    Fault(
        "layers sorted as text",
        "lib_anyms/engine/layer_map.py",
        'int(match["depth"])), name',
        'match["depth"]), name',
        "tests/unit/test_layer_map.py",
    ),
    Fault(
        "a hook left behind",
        "lib_anyms/engine/image_stream.py",
        "for handle in self._handles:",
        "for handle in self._handles[1:]:",
        STREAM + " -k ejected",
    ),
    Fault(
        "hooks kept after a refusal",
        "lib_anyms/engine/image_stream.py",
        "            self.eject()\n            raise\n\n\ndef _refuse_count",
        "            raise\n\n\ndef _refuse_count",
        STREAM + " -k 'row_map or fire'",
    ),
    Fault(
        "an armed refusal stays",
        "lib_anyms/engine/image_stream.py",
        "        handle.remove()\n        raise error",
        "        raise error",
        STREAM + " -k refusal",
    ),
    Fault(
        "inject is not idempotent",
        "lib_anyms/engine/image_stream.py",
        "        if self.injected:\n            return\n",
        "",
        STREAM + " -k double",
    ),
    Fault(
        "fired layers not counted",
        "lib_anyms/engine/image_stream.py",
        "if not self._fired or self._fired % len(self._layers):",
        "if not self._fired:",
        STREAM + " -k fire",
    ),
    Fault(
        "other jobs' calls taken for ours",
        "lib_anyms/job/session.py",
        "        if not self._sampling:\n            return None\n",
        "",
        SESSION,
    ),
    Fault(
        "the global scale forgotten",
        "lib_anyms/engine/attention.py",
        "alpha=scale * crop.weight)",
        "alpha=crop.weight)",
        STREAM + " -k 'oracle or scale'",
    ),
    Fault(
        "the subject's weight forgotten",
        "lib_anyms/engine/attention.py",
        "alpha=scale * crop.weight)",
        "alpha=scale)",
        ATTENTION,
    ),
    Fault(
        "the subject's weight forgotten where all rows go at once",
        "lib_anyms/engine/fused.py",
        "image = image * together.shares",
        "pass",
        ONE_CALL + " -k crop_and_merge",
    ),
    Fault(
        "image stream in place of the text",
        "lib_anyms/engine/attention.py",
        "    return text\n",
        "    return text.zero_()\n",
        STREAM,
    ),
    Fault(
        "heads split the wrong way",
        "lib_anyms/engine/attention.py",
        "tensor.unflatten(-1, (heads, -1)).transpose(-3, -2)",
        "tensor.unflatten(-1, (-1, heads)).transpose(-1, -2).transpose(-3, -2)",
        ATTENTION,
    ),
    Fault(
        "subjects' sets permuted",
        "lib_anyms/ip_adapter/key_value_projection.py",
        "KeyValues(everyone, places, last)",
        "KeyValues(everyone, places[::-1], last)",
        TOKENS,
    ),
    Fault(
        "keys and values exchanged",
        "lib_anyms/ip_adapter/key_value_projection.py",
        "zip((layer.key_name, layer.value_name), everyone",
        "zip((layer.value_name, layer.key_name), everyone",
        TOKENS,
    ),
    Fault(
        "uncond set of the first subject",
        "lib_anyms/ip_adapter/key_value_projection.py",
        "KeyValues(everyone, places, last)",
        "KeyValues(everyone, places, places[0])",
        TOKENS,
    ),
    Fault(
        "a subject's set on unconditional rows",
        "lib_anyms/engine/region_merge.py",
        "sets = self._keys_values.of(layer.number, part.is_cond, own) or []",
        "sets = self._keys_values.of(layer.number, True, own) or []",
        ONE_CALL + " -k whole",
    ),
    Fault(
        "only the first picture of a subject",
        "lib_anyms/ip_adapter/tokens.py",
        "lambda tokens: tokens.mean(0)",
        "lambda tokens: tokens[0]",
        TOKENS,
    ),
    Fault(
        "start and end ignored",
        "lib_anyms/layout/layout.py",
        "return self.weight if self.start <= progress < self.end else 0.0",
        "return self.weight",
        STREAM + " -k start",
    ),
    Fault(
        "an explicit order sorted",
        "lib_anyms/job/request.py",
        "return cls(Layout(placed), pictures, cards=cards, **values)",
        "return cls(Layout(tuple(sorted(placed, key=lambda s: -s.box.area))), pictures, cards=cards, **values)",
        "tests/unit/test_request.py",
    ),
    Fault(
        "unknown fields swallowed",
        "lib_anyms/layout/fields.py",
        'raise Refused("field_unknown"',
        'Refused("field_unknown"',
        "tests/unit/test_request.py",
    ),
    Fault(
        "base without its layer norm",
        "lib_anyms/ip_adapter/projection.py",
        'return F.layer_norm(tokens, (width,), weights["norm.weight"], weights["norm.bias"])',
        "return tokens",
        "tests/parity -k tokens",
    ),
    Fault(
        "resampler without its latents",
        "lib_anyms/ip_adapter/projection.py",
        "torch.cat((features, latents), dim=1)",
        "features",
        "tests/parity -k tokens",
    ),
    Fault(
        "the last hidden state instead of the penultimate",
        "lib_anyms/ip_adapter/encoder.py",
        "output.hidden_states[-2]",
        "output.hidden_states[-1]",
        "tests/parity -k encoder",
    ),
    Fault(
        "plus's unconditional input is zeros",
        "lib_anyms/ip_adapter/encoder.py",
        'if kind == "base":\n            return torch.zeros(1, self.checkpoint.projection_width',
        "if kind:\n            return torch.zeros(1, self.checkpoint.width_for(kind)",
        "tests/unit/test_encoder.py",
    ),
    Fault(
        "a masked part taken for the whole picture",
        "lib_anyms/hosts/viewport.py",
        "return _masked_frame(p) if _only_masked(p) else WHOLE",
        "return WHOLE",
        "tests/unit/test_viewport.py",
    ),
    Fault(
        "hires cuts the odd cell at the beginning",
        "lib_anyms/hosts/viewport.py",
        "return cells // 2 / side, (side - (cells + 1) // 2) / side",
        "return (cells + 1) // 2 / side, (side - cells // 2) / side",
        "tests/unit/test_viewport.py -k hires",
    ),
    Fault(
        "a pass with fewer subjects takes the first ones' pictures",
        "lib_anyms/engine/key_values.py",
        "[self.places[number] for number in numbers]",
        "[self.places[number] for number in range(len(numbers))]",
        "tests/unit/test_session_viewport.py -k half",
    ),
    Fault(
        "the second pass keeps the first one's frame",
        "lib_anyms/job/session.py",
        " and self.frame == frame:",
        ":",
        "tests/unit/test_session_viewport.py -k each_pass",
    ),
    # the Forge family
    Fault(
        "a host told by its patcher's own class alone",
        "lib_anyms/hosts/ldm_patched.py",
        "in type(patcher).__mro__)",
        "in type(patcher).__mro__[:1])",
        "tests/unit/test_hosts.py",
    ),
    Fault(
        "keys and values in the dtype fp8 weights are stored in",
        "lib_anyms/hosts/ldm_patched.py",
        "return model.manual_cast_dtype or model.get_dtype()",
        "return model.get_dtype()",
        "tests/unit/test_hosts.py -k samples",
    ),
    Fault(
        "conditional and unconditional chunks mixed up",
        "lib_anyms/hosts/forge.py",
        "flag == 0 for flag",
        "flag != 0 for flag",
        "tests/unit/test_hosts.py -k rows",
    ),
    Fault(
        "weights exchanged within the same UNet go unnoticed",
        "lib_anyms/hosts/forge.py",
        '"ORIGINAL_CHECKPOINT", None) is not None',
        '"ORIGINAL_CHECKPOINT", None) is False',
        "tests/unit/test_hosts.py -k exchanged",
    ),
    Fault(
        "Forge Neo taken for Forge",
        "lib_anyms/hosts/facts.py",
        '("backend", "neo", ',
        '("backend", "neo?", ',
        "tests/unit/test_hosts.py",
    ),
    # memory, refusals, updates
    Fault(
        "memory that runs out ends the job",
        "lib_anyms/job/encoding.py",
        'if device.type == "cpu" or not out_of_memory(error):',
        "if device.type:",
        "tests/unit/test_encoding.py -k runs_out",
    ),
    Fault(
        "the encoder outlives the encoding",
        "lib_anyms/job/encoding.py",
        "        loaded = Encoder(encoder, device, encoder_dtype)\n",
        '        loaded = vars(host).setdefault("_kept", Encoder(encoder, device, encoder_dtype))\n',
        "tests/unit/test_encoding.py -k gone",
    ),
    Fault(
        "a refusal keeps the encoder",
        "lib_anyms/job/session.py",
        "        error.__traceback__ = error.__cause__ = error.__context__ = None",
        "        error.__suppress_context__ = True",
        "tests/unit/test_encoding.py -k keeps_nothing",
    ),
    Fault(
        "a replaced file taken for the one before",
        "lib_anyms/job/encoding.py",
        "return str(path), facts.st_size, facts.st_mtime_ns",
        "return str(path), facts.st_size > 0",
        "tests/unit/test_encoding.py -k replaced",
    ),
    Fault(
        "a user who stops the job is not heard while pictures are read",
        "lib_anyms/job/encoding.py",
        "if host.interrupted():",
        "if host is None:",
        "tests/unit/test_encoding.py -k stopped",
    ),
    Fault(
        "words of ours stay at the progress bar",
        "lib_anyms/job/encoding.py",
        "        host.tell(shown)\n",
        "        pass\n",
        "tests/unit/test_encoding.py -k shows",
    ),
    Fault(
        "plain softmax without its scale",
        "lib_anyms/engine/sdpa.py",
        " / query.shape[-1] ** 0.5",
        "",
        "tests/unit/test_sdpa.py -k oracle",
    ),
    Fault(
        "fused attention tried in every layer",
        "lib_anyms/engine/sdpa.py",
        "if REFUSED_BY and place in REFUSED_BY:",
        "if place is None:",
        "tests/unit/test_sdpa.py -k oracle",
    ),
    Fault(
        "keys and values in eight bits",
        "lib_anyms/job/encoding.py",
        "host.dtype() if host.dtype() in COMPUTED_IN else torch.float16",
        "host.dtype()",
        "tests/unit/test_sdpa.py -k fp8",
    ),
    Fault(
        "a known cause is refused",
        "lib_anyms/engine/image_stream.py",
        "self.excused = self._excuse()",
        "self.excused = None",
        "tests/unit/test_aside.py -k known_cause",
    ),
    Fault(
        "a compiled block goes unnoticed",
        "lib_anyms/engine/image_stream.py",
        "any(map(_is_compiled, unet.modules()))",
        "_is_compiled(unet)",
        "tests/unit/test_aside.py -k compiled",
    ),
    Fault(
        "tiles by the UNet's patcher go unnoticed",
        "lib_anyms/hosts/webui.py",
        '.get("model_function_wrapper")',
        '.get("a wrapper")',
        "tests/unit/test_aside.py -k tiled",
    ),
    Fault(
        "a sampling that is not announced passes in silence",
        "lib_anyms/webui/lifecycle.py",
        " and _active(read_request):",
        " and not _active(read_request):",
        "tests/unit/test_aside.py -k announced",
    ),
    Fault(
        "image-editing checkpoints taken for SDXL",
        "lib_anyms/models/model_family.py",
        "INPUT_CHANNELS = (4, 9)",
        "INPUT_CHANNELS = (4, 8, 9)",
        "tests/unit/test_model_family.py",
    ),
    Fault(
        "a job of two versions",
        "lib_anyms/webui/update_check.py",
        "found[1] == __version__",
        "found[1]",
        "tests/unit/test_update_check.py -k refused",
    ),
    Fault(
        "a loaded tensor is still the file",
        "lib_anyms/tensor_files/tensor_file.py",
        ".clone(memory_format=torch.contiguous_format)",
        ".contiguous()",
        "tests/unit/test_files.py -k held",
    ),
    # the WebUI's page, plot and API
    Fault(
        "pasting forgets an order nobody would propose",
        "lib_anyms/webui/ui/paste.py",
        "order = AS_NUMBERED if propose_order(",
        "order = PROPOSED if propose_order(",
        "tests/unit/test_page.py -k order",
    ),
    Fault(
        "another subject's picture stays after pasting",
        "lib_anyms/webui/ui/paste.py",
        'filled[number] = json.dumps(found, separators=(",", ":")) if found else ""',
        'filled[number] = json.dumps(found, separators=(",", ":")) if found else texts[number]',
        "tests/unit/test_page.py -k own_stay",
    ),
    Fault(
        "values of an axis unbounded",
        "lib_anyms/webui/ui/axes.py",
        'self.row.read(value, "the X/Y/Z plot")\n            if',
        "if",
        "tests/unit/test_page.py -k out_of_bounds",
    ),
    Fault(
        "a script's next job keeps the infotext of the one before",
        "lib_anyms/webui/lifecycle.py",
        "if ours & told.keys():",
        "if False:",
        "tests/unit/test_lifecycle.py",
    ),
    Fault(
        "AnyMS's addresses open to everyone",
        "lib_anyms/webui/web_api.py",
        "if open_to_all or _logged_in(",
        "if accounts or open_to_all or _logged_in(",
        "tests/unit/test_web_api.py -k who_may_ask",
    ),
    # the flat world, its training, and what is measured in it
    Fault(
        "held-out identities are trained on",
        "lib_anyms/lab/world/identity.py",
        "lambda one: one.trained,",
        "lambda one: not one.unseen,",
        "tests/lab/test_world.py -k shows_neither",
    ),
    Fault(
        "what is held out depends on the run",
        "lib_anyms/lab/world/identity.py",
        'zlib.crc32(" ".join(astuple(self)).encode())',
        "hash(self)",
        "tests/lab/test_world.py -k in_eight",
    ),
    Fault(
        "a figure with two sides is mirrored",
        "lib_anyms/lab/world/scene.py",
        ' and identity.pattern != "side"',
        "",
        "tests/lab/test_world.py -k mirrored",
    ),
    Fault(
        "figures of a scene overlap",
        "lib_anyms/lab/world/scene.py",
        "other.box) == 0 for",
        "other.box) < 0.01 for",
        "tests/lab/test_world.py -k lie_apart",
    ),
    Fault(
        "a box forgets the figure's tilt",
        "lib_anyms/lab/world/scene.py",
        "u, v = (x * cos - y * sin) * self.radius, (x * sin + y * cos) * self.radius",
        "u, v = x * self.radius, y * self.radius",
        "tests/lab/test_world.py -k tight",
    ),
    Fault(
        "a figure tilts the other way",
        "lib_anyms/lab/world/shapes.py",
        "x, y = cos * u + sin * v, cos * v - sin * u",
        "x, y = cos * u - sin * v, cos * v + sin * u",
        "tests/lab/test_world.py -k clockwise",
    ),
    Fault(
        "a small drawing is jagged",
        "lib_anyms/lab/world/shapes.py",
        "max(2, round(24 / radius)) if radius < 12 else 3",
        "1",
        "tests/lab/test_world.py -k pooled",
    ),
    Fault(
        "latents are not centred",
        "lib_anyms/lab/world/latents.py",
        "return -colour_to_latent() @ torch.tensor(MEAN)",
        "return 0 * colour_to_latent() @ torch.tensor(MEAN)",
        "tests/lab/test_world.py -k linear",
    ),
    Fault(
        "a caption names a pattern's colour or nothing",
        "lib_anyms/lab/world/captions.py",
        "shuffled = random.sample(names, len(names))",
        "shuffled = random.sample(names, max(0, len(names) - 1))",
        "tests/lab/test_world.py -k any_order",
    ),
    Fault(
        "a hidden figure is read with the one below",
        "lib_anyms/lab/oracle.py",
        "    off *= seen  #",
        "    #",
        "tests/lab/test_oracle.py -k hidden",
    ),
    Fault(
        "bare ground is read as a figure",
        "lib_anyms/lab/oracle.py",
        "if self.errors.flatten()[best] >= -_FLAT / 2:",
        "if self.errors.flatten()[best] >= 1e9:",
        "tests/lab/test_oracle.py -k bare",
    ),
    Fault(
        "figures are read without what both colours share",
        "lib_anyms/lab/oracle.py",
        "errors = inner[:, :, None, None, None] * (2 * sums[:, 2])",
        "errors = 0 * inner[:, :, None, None, None] * (2 * sums[:, 2])",
        "tests/lab/test_oracle.py -k every_attribute",
    ),
    Fault(
        "a figure on top hides the one below",
        "lib_anyms/lab/oracle.py",
        "free = free * ~explained",
        "free = free * ~figure.cells * ~F.max_pool2d(figure.cells.float()[None], 9, 1, 4)[0].bool()",
        "tests/lab/test_oracle.py -k on_top",
    ),
    Fault(
        "what no template explains is not found",
        "lib_anyms/lab/oracle.py",
        "    for lump in _lumps(rest):",
        "    for lump in []:",
        "tests/lab/test_oracle.py -k no_known_shape",
    ),
    Fault(
        "the encoder's latents lack the mean",
        "lib_anyms/lab/train/vae.py",
        "quarters.bias[pin + 1] = sign * signal * bias[channel]",
        "quarters.bias[pin + 1] = 0",
        "tests/lab/test_vae.py -k encoder_gives",
    ),
    Fault(
        "the decoder's pins are trained",
        "lib_anyms/lab/train/decoder.py",
        "if name in masks:",
        "if name not in masks:",
        "tests/lab/test_vae.py -k pins",
    ),
    Fault(
        "a tall matrix is stepped as if it were wide",
        "lib_anyms/lab/train/optimiser.py",
        "math.sqrt(max(shape))",
        "math.sqrt(shape[1])",
        "tests/lab/test_optimiser.py -k torch_s_muon",
    ),
    Fault(
        "Muon steps a copy of a convolution",
        "lib_anyms/lab/train/optimiser.py",
        "_matrix(weight.detach(), weight)",
        "_matrix(weight.detach().clone(), weight)",
        "tests/lab/test_optimiser.py -k memory_format",
    ),
    Fault(
        "the rounds of an orthogonal step are not multiplied",
        "lib_anyms/lab/train/optimiser.py",
        "product = polynomial @ product",
        "product = polynomial",
        "tests/lab/test_optimiser.py -k newton",
    ),
    Fault(
        "v of the wrong sign",
        "lib_anyms/lab/train/diffusion.py",
        "wanted = alpha * noise - sigma * latents",
        "wanted = sigma * latents - alpha * noise",
        "tests/lab/test_diffusion.py -k those_of_diffusers",
    ),
    Fault(
        "timesteps are drawn evenly",
        "lib_anyms/lab/train/diffusion.py",
        "STEPS * rest**_NOISY",
        "STEPS * rest",
        "tests/lab/test_diffusion.py -k decisive",
    ),
    Fault(
        "a resumed training forgets its average",
        "lib_anyms/lab/train/trainer.py",
        "self._average.weights[name].copy_(weight)",
        "pass",
        "tests/lab/test_trainer.py -k uninterrupted",
    ),
    Fault(
        "a resumed training holds the file it is to replace",
        "lib_anyms/lab/train/trainer.py",
        "file.get_tensor(name).clone() for name",
        "file.get_tensor(name) for name",
        "tests/lab/test_trainer.py -k uninterrupted",
    ),
    Fault(
        "weights that are not finite are saved",
        "lib_anyms/lab/train/trainer.py",
        "if not torch.isfinite(norm):",
        "if False:",
        "tests/lab/test_trainer.py -k not_finite",
    ),
    Fault(
        "an interrupted training is lost",
        "lib_anyms/lab/train/trainer.py",
        "        except KeyboardInterrupt:\n            self._save()\n",
        "        except KeyboardInterrupt:\n",
        "tests/lab/test_trainer.py -k saves_and_raises",
    ),
    Fault(
        "the last weights are kept instead of the average",
        "lib_anyms/lab/train/trainer.py",
        "        self._average.swap()\n        self.learner.module.eval()\n        self.learner.finish()",
        "        self.learner.module.eval()\n        self.learner.finish()",
        "tests/lab/test_trainer.py -k is_what_is_kept",
    ),
    Fault(
        "a reference is of another figure than the picture's",
        "lib_anyms/lab/train/data.py",
        "identities.append(figures[0][0] if alone else None)",
        "identities.append(figures[0][0].near_miss('body', random) if alone else None)",
        "tests/lab/test_data.py -k its_identity",
    ),
    Fault(
        "a reference that is left out is another zero",
        "lib_anyms/lab/train/data.py",
        '"plus": nothing["plus"][0]}',
        '"plus": torch.zeros_like(nothing["plus"][0])}',
        "tests/lab/test_data.py -k none_is_nothing",
    ),
    Fault(
        "the stream in training is not scaled",
        "lib_anyms/lab/train/adapter.py",
        "args[0] + scale * image",
        "args[0] + image",
        "tests/lab/test_data.py -k engine_s",
    ),
    Fault(
        "a figure's cells count no more than ground",
        "lib_anyms/lab/train/unet.py",
        "weights = 1 + covered",
        "weights = 1 + 0 * covered",
        "tests/lab/test_data.py -k count_twice",
    ),
    Fault(
        "a training that starts from files trains its encoders again",
        "lib_anyms/lab/train/stages.py",
        "not done.steps or done.seconds",
        "done.seconds",
        "tests/lab/test_stages.py -k starts_from_files",
    ),
    Fault(
        "files of a training forget what made those it started from",
        "lib_anyms/lab/train/export.py",
        "shutil.copyfile(files / HISTORY, out / HISTORY)",
        "pass",
        "tests/lab/test_stages.py -k starts_from_files",
    ),
    Fault(
        "an export is not marked as v-prediction",
        "lib_anyms/lab/train/export.py",
        "V_PREDICTION: torch.ones(1)}",
        "}",
        "tests/lab/test_stages.py -k half_precision",
    ),
    Fault(
        "a second request to end cuts the save off",
        "lib_anyms/lab/commands/train.py",
        "signal.signal(number, signal.SIG_IGN)",
        "pass",
        "tests/lab/test_train_command.py -k asked_to_end",
    ),
    Fault(
        "a damaged part is joined",
        "lib_anyms/standalone/bundle.py",
        'if _hash(data) != facts["sha256"]:',
        "if not data:",
        "tests/cli/test_bundle.py -k damaged",
    ),
    Fault(
        "leakage counts a figure's own words",
        "lib_anyms/lab/evaluation/scoring.py",
        "others = words - {getattr(true, name)}",
        "others = words",
        "tests/lab/test_evaluation_scoring.py -k swapped_colours",
    ),
    Fault(
        "differences of unlike scenes",
        "lib_anyms/lab/evaluation/scoring.py",
        "return {scene: ours[scene] - theirs[scene]",
        "return {scene: ours[scene] - theirs[max(theirs)]",
        "tests/lab/test_evaluation_results.py -k paired",
    ),
    Fault(
        "what was not measured passes its bar",
        "lib_anyms/lab/evaluation/results.py",
        "passed = value is not None and (",
        "passed = value is None or (",
        "tests/lab/test_evaluation_results.py -k without_a_value",
    ),
    Fault(
        "every mode gets other noise",
        "lib_anyms/lab/evaluation/scenes.py",
        'random = Random(f"{seed} {kind.like or layout} {subjects} {number}")',
        "random = Random()",
        "tests/lab/test_evaluation_scenes.py -k decided_by",
    ),
    Fault(
        "a job within ours takes the words from our picture",
        "lib_anyms/webui/lifecycle.py",
        "p.extra_generation_params = {name: value for name, value in told.items() if name not in ours}",
        "[told.pop(name) for name in ours & told.keys()]",
        "tests/unit/test_lifecycle.py -k within_ours",
    ),
    Fault(
        "A1111's unconditional rows taken to come first",
        "lib_anyms/hosts/a1111.py",
        "(True,) * (step.x.shape[0] - nobody) + (False,) * nobody",
        "(False,) * nobody + (True,) * (step.x.shape[0] - nobody)",
        "tests/contract/test_contract.py -k 'rows_in_the_host and a1111-in'",
    ),
    Fault(
        "progress taken from the callback's number",
        "lib_anyms/hosts/webui.py",
        "min(denoiser.step / total, 1 - 1e-6)",
        "min(step.sampling_step / total, 1 - 1e-6)",
        "tests/unit/test_progress.py",
    ),
    Fault(
        "another job's steps taken for ours",
        "lib_anyms/webui/lifecycle.py",
        "if step.denoiser.p is not session.job:",
        "if step.denoiser.p is None:",
        "tests/unit/test_session_viewport.py -k another",
    ),
    Fault(
        "rows of another number believed to be copies",
        "lib_anyms/engine/image_stream.py",
        "if (query - query[sources]).abs().max() <= near and",
        "if near > 0 and",
        "tests/contract/test_neighbours.py -k no_copies",
    ),
    Fault(
        "unconditional rows taken to be copied too",
        "lib_anyms/engine/cond_map.py",
        "copies = times if chunk[0] or not any(self.is_cond) else 1",
        "copies = times",
        "tests/unit/test_cond_map.py",
    ),
    Fault(
        "a call in which no layer fired passes for one of ours",
        "lib_anyms/engine/image_stream.py",
        "if not self._fired or self._fired % len(self._layers):",
        "if self._fired % len(self._layers):",
        "tests/unit/test_aside.py -k refused",
    ),
    Fault(
        "a UNet that runs twice within a call is refused",
        "lib_anyms/engine/image_stream.py",
        "if not self._fired or self._fired % len(self._layers):",
        "if self._fired != len(self._layers):",
        "tests/contract/test_neighbours.py -k reference",
    ),
    Fault(
        "guidance with the negative text sees the pictures as the prompt does",
        "lib_anyms/hosts/forge.py",
        "elif self._predicted_both and _is_negative(",
        "elif False and _is_negative(",
        "tests/contract/test_neighbours.py -k calls_beside",
    ),
    Fault(
        "the prompt's rows taken for the negative text's where both are the same",
        "lib_anyms/hosts/forge.py",
        "torch.equal(context, negative) and not alike",
        "torch.equal(context, negative)",
        "tests/contract/test_neighbours.py -k same_words",
    ),
    Fault(
        "editor: boxes snap to half a token",
        "javascript/anyms/model/boxes.mjs",
        "export const TOKEN = 32;",
        "export const TOKEN = 16;",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: boxes leave the picture",
        "javascript/anyms/model/boxes.mjs",
        "box[0], 0, 1 - width)",
        "box[0], 0, 1)",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: a handle passes the opposite edge",
        "javascript/anyms/model/boxes.mjs",
        "clamp(x, 0, Math.max(0, box[2] - SMALLEST))",
        "clamp(x, 0, 1)",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: tokens rounded down",
        "javascript/anyms/model/boxes.mjs",
        "const HALF_UP = 0.5 + 1e-9;",
        "const HALF_UP = 1e-9;",
        "tests/unit/test_javascript.py -k cases.test",
    ),
    Fault(
        "editor: what was pasted is rounded",
        "javascript/anyms/model/boxes.mjs",
        "return x0 < x1 && y0 < y1 ? [x0, y0, x1, y1] : fitted(told);",
        "return fitted(told);",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: the lowest wins",
        "javascript/anyms/model/layout.mjs",
        "const taking = stacked(layout, facts).filter(",
        "const taking = stacked(layout, facts).reverse().filter(",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: empty slots cover others",
        "javascript/anyms/model/layout.mjs",
        "const taking = stacked(layout, facts).filter((slot) => takesPart(layout, facts, slot));",
        "const taking = stacked(layout, facts);",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: larger over smaller",
        "javascript/anyms/model/order.mjs",
        "[ROLES.indexOf(role), -thousandths(box)]",
        "[ROLES.indexOf(role), thousandths(box)]",
        "tests/unit/test_javascript.py -k cases.test",
    ),
    Fault(
        "editor: an order's doubles pass",
        "javascript/anyms/model/order.mjs",
        "if (new Set(named).size < named.length || ",
        "if (",
        "tests/unit/test_javascript.py -k cases.test",
    ),
    Fault(
        "editor: undo forgets what was undone before",
        "javascript/anyms/model/history.mjs",
        "future: [present, ...future], mark",
        "future: [present], mark",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: a removed slot is taken first",
        "javascript/anyms/model/layout.mjs",
        "const slot = free.find((number) => !isFilled(facts(number))) ?? free[0];",
        "const slot = free[0];",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: bounds exclude their end",
        "javascript/anyms/model/exchange.mjs",
        "number <= Number(rule.high)",
        "number < Number(rule.high)",
        "tests/unit/test_javascript.py -k cases.test",
    ),
    Fault(
        "editor: a part without its version",
        "javascript/anyms.mjs",
        '"./anyms/host/element.mjs?v=0.1.0"',
        '"./anyms/host/element.mjs"',
        "tests/unit/test_javascript.py -k asked_for",
    ),
    Fault(
        "editor: writes while dragging",
        "javascript/anyms/view/canvas.mjs",
        "this.editor.preview(this.dragged(",
        "this.editor.commit(this.dragged(",
        "tests/ui -k 'two_pictures and gradio3'",
    ),
    Fault(
        "editor: gradio is not told",
        "javascript/anyms/host/fields.mjs",
        'entry.dispatchEvent(new Event("input", { bubbles: true }));',
        "void 0;",
        "tests/ui -k 'two_pictures and gradio3'",
    ),
    Fault(
        "editor: a subject that is off covers others",
        "javascript/anyms/model/layout.mjs",
        "region.slot === slot && !region.off) && isFilled",
        "region.slot === slot) && isFilled",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: undo forgets pictures",
        "javascript/anyms/model/layout.mjs",
        " && !repictured(one, other).length",
        "",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: an emptied subject that is off goes away",
        "javascript/anyms/model/layout.mjs",
        "(wasOff(slot) || (shown(slot)",
        "(false || (shown(slot)",
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: an undone picture does not come back to the page",
        "javascript/anyms/view/editor.mjs",
        "for (const slot of slots) this.fields.setPictures(slot,",
        "for (const slot of slots) void (slot,",
        "tests/ui -k 'undone and gradio3'",
    ),
    Fault(
        "editor: an undone name does not come back to the page",
        "javascript/anyms/view/editor.mjs",
        "for (const slot of named) this.fields.send(",
        "for (const slot of named) void (",
        "tests/ui -k 'names_are_undone and gradio3'",
    ),
    Fault(
        "editor: each letter of a name is a step of its own",
        "javascript/anyms/model/layout.mjs",
        "? `name ${slots[0]}` :",
        '? "" :',
        "tests/unit/test_javascript.py -k layout.test",
    ),
    Fault(
        "editor: the host's language is not asked for a word",
        "javascript/anyms/view/dom.mjs",
        'typeof translate === "function" && translate(words)',
        "false",
        "tests/ui -k 'host_s_language and gradio3'",
    ),
    Fault(
        "editor: who is off is sent",
        "javascript/anyms/host/fields.mjs",
        "shows(layout, slot) ? !isOff(layout, slot) : !kept(slot)",
        "shows(layout, slot) || !kept(slot)",
        "tests/ui -k 'off_for_a and gradio3'",
    ),
    Fault(
        "editor: another checkpoint is noticed at the next edit only",
        "javascript/anyms.mjs",
        "for (const { editor } of elements.values()) editor?.refresh();",
        "",
        "tests/ui -k 'another_checkpoint and gradio3'",
    ),
    Fault(
        "a checkpoint that is not loaded yet is not looked at",
        "lib_anyms/hosts/checkpoint.py",
        "if found is None or found.filename == loaded:",
        "if True:",
        "tests/unit/test_chosen_checkpoint.py -k page_is_told",
    ),
    Fault(
        "Forge's list of checkpoints is not seen",
        "lib_anyms/webui/ui/editor.py",
        'told.get("elem_id") == CHECKPOINT or in_forge',
        'told.get("elem_id") == CHECKPOINT',
        "tests/unit/test_chosen_checkpoint.py -k each_host",
    ),
    Fault(
        "a list of checkpoints that is made off the page is given an event",
        "lib_anyms/webui/ui/editor.py",
        "on_page = gr.context.Context.root_block is not None",
        "on_page = True",
        "tests/unit/test_chosen_checkpoint.py -k off_the_page",
    ),
    Fault(
        "packed weights are believed to be a UNet's",
        "lib_anyms/hosts/checkpoint.py",
        "if len(shape) != 2 or attended.get(",
        "if len(shape) != 2 and attended.get(",
        "tests/unit/test_chosen_checkpoint.py -k tells_nothing",
    ),
    Fault(
        "a pressed card does not reach the server",
        "javascript/anyms/host/cards.mjs",
        'if (text) fields.send("cards_put", text);',
        "void fields;",
        "tests/ui -k 'card_is_found and gradio3'",
    ),
    Fault(
        "the page's order is not used",
        "lib_anyms/webui/ui/slots.py",
        "for number in order or taking_part if",
        "for number in taking_part if",
        "tests/unit/test_page.py -k order_of_the_slots",
    ),
    Fault(
        "one of several missing pictures is not named",
        "lib_anyms/webui/ui/paste.py",
        'if len(found) < len(slot["hashes"]) or not found:',
        "if not found:",
        "tests/unit/test_cached_pictures.py -k several",
    ),
    Fault(
        "a kept picture is sought by any name",
        "lib_anyms/webui/picture_cache.py",
        "if not _HASH.fullmatch(name):",
        "if not name:",
        "tests/unit/test_picture_cache.py -k no_way",
    ),
    Fault(
        "a hash in upper case is a kept picture's name too",
        "lib_anyms/webui/picture_cache.py",
        '_HASH = re.compile(r"[0-9a-f]{12}")',
        '_HASH = re.compile(r"[0-9a-fA-F]{12}")',
        "tests/unit/test_picture_cache.py -k no_way",
    ),
    Fault(
        "what lies under a kept picture's name is believed",
        "lib_anyms/webui/picture_cache.py",
        "if data is None or picture_hash(read_picture(data, name)) != name:",
        "if data is None:",
        "tests/unit/test_picture_cache.py -k another",
    ),
    Fault(
        "a link among the kept pictures is followed",
        "lib_anyms/webui/picture_cache.py",
        "facts = path.lstat()",
        "facts = path.stat()",
        "tests/unit/test_picture_cache.py -k link",
    ),
    Fault(
        "the last used picture goes first",
        "lib_anyms/webui/picture_cache.py",
        "key=lambda each: each[1].st_mtime_ns)",
        "key=lambda each: -each[1].st_mtime_ns)",
        "tests/unit/test_picture_cache.py -k longest",
    ),
    Fault(
        "pictures are kept where strangers may look",
        "lib_anyms/webui/ui/cached_pictures.py",
        "return reachable and not login",
        "return False",
        "tests/unit/test_cached_pictures.py -k strangers",
    ),
    Fault(
        "editor: pictures travel as large as they are",
        "javascript/anyms/model/pictures.mjs",
        "Math.min(1, LARGEST / Math.max(width, height))",
        "Math.min(1, LARGEST)",
        "tests/unit/test_javascript.py -k pictures.test",
    ),
    Fault(
        "editor: a PNG's text is read one byte late",
        "javascript/anyms/model/png.mjs",
        "return latin(data.subarray(end + 1));",
        "return latin(data.subarray(end + 2));",
        "tests/unit/test_javascript.py -k pictures.test",
    ),
    Fault(
        "editor: the grid lies behind the boxes",
        "javascript/anyms/view/background.mjs",
        "return loaded.find(",
        "return loaded[0] ?? loaded.find(",
        "tests/unit/test_javascript.py -k pictures.test",
    ),
    Fault(
        "editor: a reference dropped on a box restores a layout",
        "javascript/anyms/view/intake.mjs",
        "if (files.length) return slot ? this.give(slot, files) : this.offer(files);",
        "if (files.length) return this.offer(files);",
        "tests/ui -k 'on_a_box_it_is_a_reference and gradio3'",
    ),
    Fault(
        "a slot that is switched off takes part",
        "lib_anyms/webui/ui/slots.py",
        "return bool(slot.get(USE, True)) and (",
        "return (",
        "tests/unit/test_page.py -k not_used",
    ),
    Fault(
        "the last refusal is not kept for the page",
        "lib_anyms/job/session.py",
        "self.outcome, self._refusal = error.cause, str(error)",
        'self.outcome, self._refusal = error.cause, ""',
        "tests/unit/test_web_api.py -k refusal",
    ),
    Fault(
        "a host's page keeps words that tell no reason",
        "javascript/anyms/host/refusal.mjs",
        "toldFor(own, await lastRefusal())",
        'toldFor(own, "")',
        "tests/unit/test_javascript.py -k refusal",
    ),
    Fault(
        "a WebUI's evaluation with more scenes than the limit",
        "lib_anyms/lab/commands/evaluate.py",
        "scenes=min(cell.scenes, most)",
        "scenes=max(cell.scenes, most)",
        "tests/lab/test_evaluation_run.py -k fewer",
    ),
    Fault(
        "a WebUI with another first noise goes unsaid",
        "lib_anyms/lab/evaluation/pictures.py",
        "if self._options.get(name, value) != value",
        "if self._options.get(name) is None",
        "tests/lab/test_evaluation_run.py -k same_layouts",
    ),
    Fault(
        "comparison: each mode with a seed of its own",
        "lib_anyms/webui/ui/extras.py",
        "    processing.fix_seed(p)\n",
        "",
        "tests/unit/test_extras.py -k one_seed",
    ),
    Fault(
        "comparison: the copies write into the job's infotext",
        "lib_anyms/webui/ui/extras.py",
        "job.extra_generation_params = dict(p.extra_generation_params)",
        "job.extra_generation_params = p.extra_generation_params",
        "tests/unit/test_extras.py -k one_seed",
    ),
    Fault(
        "comparison: what a failed job left is shown by the next",
        "lib_anyms/webui/ui/extras.py",
        "    _waiting = None\n    if panel.asked(values) != COMPARISON:",
        "    if panel.asked(values) != COMPARISON:",
        "tests/unit/test_extras.py -k failed_leaves_nothing",
    ),
    Fault(
        "comparison: boxes not placed into what the picture shows",
        "lib_anyms/webui/ui/drawing.py",
        "in layout.seen_in(frame).items():",
        "in enumerate(layout.subjects):",
        "tests/unit/test_extras.py -k boxes_lie",
    ),
    Fault(
        "maps: the share of the text, not of the update",
        "lib_anyms/engine/influence.py",
        "(strength + text.float().norm(dim=-1))",
        "(text.float().norm(dim=-1))",
        "tests/unit/test_extras.py -k influence_is_the_share",
    ),
    Fault(
        "a button's wish is lost where the switch is off",
        "lib_anyms/webui/ui/panel.py",
        " or bool(asked(values)))\n",
        ")\n",
        "tests/unit/test_extras.py -k button_asks",
    ),
    Fault(
        "editor: a hidden subject is not warned",
        "javascript/anyms/model/hints.mjs",
        "seen.get(region.slot) === 0",
        "seen.get(region.slot) === -1",
        "tests/unit/test_javascript.py -k aids",
    ),
    Fault(
        "editor: a hires fix cuts the odd cell at the beginning",
        "javascript/anyms/model/hires.mjs",
        "return [Math.floor(cells / 2) / side, (side - Math.floor((cells + 1) / 2)) / side];",
        "return [Math.floor((cells + 1) / 2) / side, (side - Math.floor(cells / 2)) / side];",
        "tests/unit/test_javascript.py -k aids",
    ),
    Fault(
        "editor: the lowest box owns the tokens",
        "javascript/anyms/model/boxes.mjs",
        "  boxes.forEach((box, number) => {\n    const { top",
        "  [...boxes].reverse().forEach((box, number) => {\n    const { top",
        "tests/unit/test_javascript.py -k cases",
    ),
    Fault(
        "editor: an arrangement goes by numbers, not by layers",
        "javascript/anyms/model/saved-layouts.mjs",
        "preset[order.indexOf(region.slot)] ?? region.box",
        "preset[region.slot - 1] ?? region.box",
        "tests/unit/test_javascript.py -k aids",
    ),
    Fault(
        "editor: every Generate after a comparison is one",
        "javascript/anyms/view/tools.mjs",
        '    fields.send("asked", "");\n',
        "",
        "tests/ui/test_aids.py -k 'one_click and gradio3'",
    ),
    Fault(
        "editor: a list without a name",
        "javascript/anyms/view/token-map.mjs",
        '{ "aria-label": t("Show who owns each token") }',
        "{}",
        "tests/ui/test_aids.py -k 'axe and gradio3 and 1000-light'",
    ),
    Fault(
        "editor: a hint is not told by its box",
        "javascript/anyms/view/hint-list.mjs",
        'mine.length ? `hints${slot} keys` : "keys"',
        '"keys"',
        "tests/ui/test_aids.py -k 'what_may_be_wrong and gradio3'",
    ),
    Fault(
        "editor: a wrong type",
        "javascript/anyms/model/hires.mjs",
        "const side = Math.floor(pixels / CELL);",
        "const side = String(pixels / CELL);",
        "tests/unit/test_javascript.py -k types_hold",
    ),
    Fault(
        "files: a stranger is opened at every look",
        "lib_anyms/models/file_index.py",
        "if known is None or known[0] != stamp:",
        "if known is None or known[0] != stamp or isinstance(known[1], Refused):",
        "tests/unit/test_finding.py -k 'three_thousand or changes_is_read'",
    ),
    Fault(
        "files: a replaced file is believed to be the old one",
        "lib_anyms/models/file_index.py",
        "if known is None or known[0] != stamp:",
        "if known is None:",
        "tests/unit/test_finding.py -k changes_is_read",
    ),
    Fault(
        "files: an adapter without its encoder is taken all the same",
        "lib_anyms/models/model_files.py",
        "    for chosen in adapters:\n        for picked in encoders:",
        "    for chosen in adapters[:1]:\n        for picked in encoders:",
        "tests/unit/test_finding.py -k auto_takes",
    ),
    Fault(
        "files: a loop of links is walked",
        "lib_anyms/models/model_files.py",
        "    if identity in entered or len(entered) >= MOST_FOLDERS:",
        "    if len(entered) >= MOST_FOLDERS:",
        "tests/unit/test_finding.py -k links_are_followed",
    ),
    Fault(
        "files: a look-alike in the adapter's place is passed over in silence",
        "lib_anyms/models/model_files.py",
        "isinstance(verdict, Refused) and verdict.cause not in _FAR]",
        "isinstance(verdict, Refused) and verdict.cause in _FAR]",
        "tests/unit/test_finding.py -k look_alike_in_its_place",
    ),
    Fault(
        "encoders: open_clip's key and value exchanged",
        "lib_anyms/ip_adapter/encoder_names.py",
        'third="qkv".index(letter)',
        'third="qvk".index(letter)',
        "tests/unit/test_finding.py -k every_naming",
    ),
    Fault(
        "encoders: open_clip's projection is not turned",
        "lib_anyms/ip_adapter/encoder_names.py",
        "return whole.T.contiguous() if self.turned else whole",
        "return whole.reshape(whole.shape[::-1]) if self.turned else whole",
        "tests/unit/test_finding.py -k every_naming",
    ),
    Fault(
        "files: names that multiply are all read",
        "lib_anyms/tensor_files/torch_pickle.py",
        "TENSOR_LIMIT = 2**15",
        "TENSOR_LIMIT = 2**19",
        "tests/unit/test_damaged_files.py -k 'unfolds and tensor'",
    ),
    Fault(
        "files: a name from outside is opened where it leads",
        "lib_anyms/models/model_files.py",
        "    for path, verdict in files:\n        if _is_called",
        "    for path, verdict in [*files, *index.look([Path(name)])]:\n        if _is_called",
        "tests/unit/test_finding.py -k from_outside",
    ),
    Fault(
        "downloads: a file's name may climb",
        "lib_anyms/models/downloads.py",
        "if not file.offered or Path(file.name).name != file.name:",
        "if not file.offered:",
        "tests/unit/test_downloads.py -k whose_hash_nobody",
    ),
    Fault(
        "downloads: a link in the part's place is written through",
        "lib_anyms/models/downloads.py",
        "if part.is_symlink() or (part.exists()",
        "if (part.exists()",
        "tests/unit/test_downloads.py -k too_long_or_a_link",
    ),
    Fault(
        "downloads: a link of the file's name is not seen",
        "lib_anyms/models/downloads.py",
        "    if os.path.lexists(folder / file.name):",
        "    if (folder / file.name).exists():",
        "tests/unit/test_downloads.py -k never_overwritten",
    ),
    Fault(
        "downloads: a file is known in upper case too",
        "lib_anyms/models/known_files.py",
        "if row.name == name",
        "if row.name.lower() == name.lower()",
        "tests/unit/test_downloads.py -k table_is_whole",
    ),
    Fault(
        "downloads: the list goes on offering what was just fetched",
        "lib_anyms/webui/ui/files.py",
        "_sentence(), _next(downloads.progress)",
        "_sentence(), gr.update()",
        "tests/unit/test_files_panel.py -k button_fetches",
    ),
    Fault(
        "downloads: the hash is not looked at",
        "lib_anyms/models/downloads.py",
        "if digest != file.sha256:",
        "if not digest:",
        "tests/unit/test_downloads.py -k 'something_else or wrong_bytes'",
    ),
    Fault(
        "downloads: begun anew after every cut",
        "lib_anyms/models/downloads.py",
        'part.open("ab")',
        'part.open("wb")',
        "tests/unit/test_downloads.py -k goes_on",
    ),
    Fault(
        "downloads: any redirect is followed",
        "lib_anyms/models/web_file.py",
        'not in ("https", urlsplit(req.full_url).scheme):',
        'not in ("https", "http", "file", "ftp"):',
        "tests/unit/test_downloads.py -k something_else",
    ),
    Fault(
        "downloads: go on while a picture is made",
        "lib_anyms/models/downloads.py",
        "while not conditions.ends() and conditions.waits():",
        "while not conditions.ends() and False:",
        "tests/unit/test_downloads.py -k waits_while",
    ),
    Fault(
        "downloads: a full disk keeps what was fetched",
        "lib_anyms/models/downloads.py",
        '            part.unlink(missing_ok=True)\n            raise Refused("download_space"',
        '            raise Refused("download_space"',
        "tests/unit/test_downloads.py -k disk_that_fails",
    ),
    Fault(
        "downloads: an address of the caller's is fetched",
        "lib_anyms/webui/web_api.py",
        "    file = known_file(name)\n",
        "    file = known_file(name) or KNOWN[0]\n",
        "tests/unit/test_web_api.py -k known_name",
    ),
    Fault(
        "page: the button begins nothing",
        "lib_anyms/webui/ui/files.py",
        "            begin(file)",
        "            pass",
        "tests/unit/test_files_panel.py -k button",
    ),
    Fault(
        "memory: what an encoder took stays with the C library",
        "lib_anyms/engine/memory.py",
        "        trim(0)\n",
        "        pass\n",
        "tests/unit/test_memory.py",
    ),
)


def plant(fault: Fault, folder: Path, wrong: bool = True) -> None:
    """Copy the project into `folder` and put the fault in, unless it is the counter-check."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors*"))
        elif source.exists():
            shutil.copy(source, folder / part)
    file = folder / fault.file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.right) != 1:
        raise SystemExit(f"{fault.name}: its line stands {text.count(fault.right)} times in {fault.file}; write the fault anew.")
    if wrong:
        file.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")


def run_tests(folder: Path, arguments: Sequence[str], output: Path) -> None:
    """Run pytest in `folder`, as a process of its own; ends with its exit code."""
    with output.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(path for path in sys.path if path and not Path(path).is_relative_to(ROOT))]
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *arguments])))


def caught_by(fault: Fault, wrong: bool = True) -> str:
    """The test that failed, or "" if none did."""
    selection, _, words = fault.tests.partition(" -k ")
    arguments = [*selection.split(), *(["-k", words.strip("'")] if words else [])]
    context = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
    with tempfile.TemporaryDirectory(prefix="anyms-fault-") as name:
        folder, output = Path(name, "project"), Path(name, "output")
        plant(fault, folder, wrong)
        process = context.Process(target=run_tests, args=(folder, arguments, output))
        process.start()
        process.join()
        told = output.read_text(encoding="utf-8") if output.exists() else ""
    if process.exitcode == 0:
        return ""
    failed = [line for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.exitcode != 1 or not failed:
        raise SystemExit(f"{fault.name}: pytest did not run ({process.exitcode}).\n{told[-4000:]}")
    return failed[0].split(" - ")[0].removeprefix("FAILED ")


def tell(fault: Fault, wrong: bool = True) -> bool:
    """Whether a test failed; prints a line about it."""
    began = time.monotonic()
    test = caught_by(fault, wrong)
    how = ("caught" if test else "MISSED") if wrong else ("FAILED" if test else "passed")
    print(f"{how}  {fault.name}  ({test or fault.tests}, {time.monotonic() - began:.0f} s)", flush=True)
    return bool(test)


def count_failed(faults: Sequence[Fault], wrong: bool = True) -> int:
    """Plant each; the first that cannot be planted or tested ends all."""
    os.environ["OMP_NUM_THREADS"] = "1"
    multiprocessing.set_forkserver_preload([*HEAVY])
    with ThreadPoolExecutor(os.cpu_count()) as crew:
        running = [crew.submit(tell, fault, wrong) for fault in faults]
        try:
            return sum(one.result() for one in running)
        except BaseException:
            crew.shutdown(cancel_futures=True)
            raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="faults whose name contains NAME")
    parser.add_argument("--unplanted", action="store_true", help="plant nothing: no test may fail")
    args = parser.parse_args()
    chosen = [fault for fault in FAULTS if not args.only or args.only in fault.name]
    failed = count_failed(chosen, wrong=not args.unplanted)
    if args.unplanted:
        print(f"{failed} of {len(chosen)} selections of tests failed with nothing planted")
        return int(not chosen or failed > 0)
    print(f"{failed} of {len(chosen)} planted faults caught")
    return int(not chosen or failed < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
