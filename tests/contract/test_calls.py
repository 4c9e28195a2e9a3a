"""UNet calls beside the host's own: guidance that predicts again, other texts, windows of the latents, tiles.

The oracle of a window is the UNet with the same boxes in the window's fractions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from lib_anyms.job.live_sessions import last_report
from lib_anyms.webui.doctor import _pass
from tests.contract.cases import CLOSE, FAR, C, Judge, U, flags, on, subject, two
from tests.contract.hosts import A1111StandIn, ForgeStandIn, Texts, catenated
from tests.contract.jobs import Call, Job, Painted
from tests.support.image_parts import within

LEFT = {"scale": 0.9, "subjects": [subject("red", 0.0, 0.0, 0.4, 1.0)]}
BOTH = {"scale": 0.9, "subjects": [subject("red", 0.0, 0.0, 0.4, 1.0), subject("blue", 0.6, 0.25, 1.0, 1.0)]}
FULL = (8, 12)  # the stand-ins' latents


def only(painted: Painted, calls: list[Call]) -> Painted:
    return replace(painted, calls=calls)


def split_entries(call: Call) -> list[Call]:
    """A call for each batch entry."""
    calls = []
    for entry, is_cond in enumerate(call.is_cond):
        inputs = {name: tensor[entry : entry + 1] for name, tensor in call.inputs.items()}
        calls.append(replace(call, inputs=inputs, is_cond=(is_cond,), output=call.output[entry : entry + 1]))
    return calls


# -- A1111: the UNet is called again within a step ---------------------------------------------------------------------


@contextmanager
def again(kind: str, **changes: Any) -> Iterator[None]:
    """A1111's step, and one more call after it (or before it) on texts of this kind."""
    step = A1111StandIn._denoise

    def extra(self: A1111StandIn, p: Job, x: torch.Tensor, sigma: float, number: int, total: int) -> torch.Tensor:
        texts = {
            "positive": [(p.text(p.prompt[0], p.chunks), C)],
            "negative": [(p.text(p.negative, p.negative_chunks), U)],
            "both": [(p.text(p.negative, p.negative_chunks), U), (p.text(p.prompt[0], p.chunks), C)],
            "positive twice": [(p.text(p.prompt[0], p.chunks), C)] * 2,  # as PAG of sd-webui-incantations does
            "another": [(p.text("a text of the guidance", p.chunks), C)],
        }[kind]
        batch = torch.cat([0.9 * x] * len(texts))
        conds = [is_cond for _, is_cond in texts for _ in x]
        return self._noise_in(batch, sigma, catenated(*(text for text, _ in texts)), conds, number / total)

    def denoise(self: A1111StandIn, p: Job, x: torch.Tensor, sigma: float, number: int, total: int) -> torch.Tensor:
        out = step(self, p, x, sigma, number, total)
        return out + 0.3 * (x - extra(self, p, x, sigma, number, total)[: len(x)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(A1111StandIn, "_denoise", denoise)
        yield


@on("a1111")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("positive", (C,)), ("negative", (U,)), ("both", (U, C)), ("positive twice", (C, C))],
)
def test_a_further_call_has_the_entries_of_its_text(
    host: A1111StandIn, judge: Judge, kind: str, expected: tuple[bool, ...]
) -> None:
    with again(kind):
        painted = judge.right(host, host.paint(two()), two())
    assert flags(painted) == [(C, U), expected] * 2
    assert all(judge.acting(host, painted))
    assert painted.comments == []


@on("a1111")
@pytest.mark.parametrize(
    "changes",
    [
        {"batch_cond_uncond": False},
        {"negative_chunks": 2},
        {"chunks": 2, "batch_size": 2},
        {"skip_early": 0.6},
        {"negative": "a cat and a dog"},
    ],
    ids=str,
)
def test_a_further_call_however_the_step_was_split(host: A1111StandIn, judge: Judge, changes: dict[str, Any]) -> None:
    with again("positive twice"):
        painted = judge.right(host, host.paint(two(), **changes), two())
    assert all(judge.acting(host, painted))


@on("a1111")
def test_an_unknown_text_is_left_out_and_said(host: A1111StandIn, judge: Judge) -> None:
    with again("another"):
        painted = host.paint(two())
    ours, others = only(painted, painted.calls[::2]), only(painted, painted.calls[1::2])
    judge.right(host, ours, two())
    assert max(judge.differences(host, others)) <= CLOSE  # the plain UNet
    assert len(painted.comments) == 1
    assert "a text that is neither the prompt nor the negative prompt" in painted.comments[0]
    assert "AnyMS" in painted.entries
    assert last_report().passes[0].left_out == (("text_unknown", 2),)
    assert "left out: 2 UNet calls, text_unknown" in "\n".join(_pass(1, last_report().passes[0]))


# -- Forge: the host's flags say conditional whatever the text ---------------------------------------------------------


@contextmanager
def guided(host: ForgeStandIn, guide: Any) -> Iterator[None]:
    host.post_cfg.append(guide)
    try:
        yield
    finally:
        host.post_cfg.clear()


@on("forge")
@pytest.mark.parametrize("changes", [{}, {"cfg_scale": 1.0}, {"low_memory": True}], ids=str)
def test_a_third_text_is_left_out_and_said(host: ForgeStandIn, judge: Judge, changes: dict[str, Any]) -> None:
    """Perp-Neg predicts from an empty text and compares that with the prompt's prediction."""
    p = Job(**changes)

    def guide(predict: Any, x: torch.Tensor, _cond: Any, _uncond: Any) -> torch.Tensor:
        return 0.1 * (x - predict([p.text("", 1)], None, x)[0])

    with guided(host, guide):
        painted = host.process(p, two())
    third = p.text("", 1)["crossattn"]
    plain, ours = [], []
    for call in painted.calls:
        (plain if torch.equal(call.inputs["context"], third) else ours).append(call)
    judge.right(host, only(painted, ours), two())
    assert len(plain) == 2
    assert max(judge.differences(host, only(painted, plain))) <= CLOSE
    assert len(painted.comments) == 1
    assert "a text that is neither the prompt" in painted.comments[0]


@on("forge")
@pytest.mark.parametrize("prompt", [("a cat",), ("a cat", "a dog")])
def test_each_part_of_and_is_conditional_in_calls_of_one_chunk(
    host: ForgeStandIn, judge: Judge, prompt: tuple[str, ...]
) -> None:
    """Even where an extension has changed the text of the step's own calls: the host's flags count there."""
    changed = ForgeStandIn._predict

    def predict(self: Any, p: Job, x: Any, sigma: float, cond: list[Texts], *rest: Any) -> Any:
        moved = [{**text, "crossattn": text["crossattn"] + 0.1} for text in cond]
        return changed(self, p, x, sigma, moved, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForgeStandIn, "_predict", predict)
        painted = judge.right(host, host.paint(two(), prompt=prompt, low_memory=True), two())
    assert sorted(flags(painted)) == [(U,)] * 2 + [(C,)] * (2 * len(prompt))
    assert painted.comments == []


# -- windows of the latents --------------------------------------------------------------------------------------------


def windows_guide(size: int, step: int) -> Any:
    """Like Sliding Window Guidance: predicts windows of full height from the positive text."""

    def guide(predict: Any, x: torch.Tensor, cond: Any, _uncond: Any) -> torch.Tensor:
        out = torch.zeros_like(x)
        for left in range(0, x.shape[-1] - size + 1, step):
            out[..., left : left + size] = predict(cond, None, x[..., left : left + size])[0]
        return 0.3 * (x - out)

    return guide


@on("forge")
@pytest.mark.parametrize("request_json", [LEFT, BOTH], ids=["one", "two"])
@pytest.mark.parametrize("size", [6, 4])
def test_boxes_are_placed_in_a_window(
    host: ForgeStandIn, judge: Judge, request_json: dict[str, Any], size: int
) -> None:
    with guided(host, windows_guide(size, 2)):
        painted = host.paint(request_json, batch_size=2)
    whole = [call for call in painted.calls if call.inputs["x"].shape[-2:] == FULL]
    windows = [call for call in painted.calls if call.inputs["x"].shape[-2:] == (FULL[0], size)]
    judge.right(host, only(painted, whole), request_json)
    places = range(0, FULL[1] - size + 1, 2)
    assert len(windows) == 2 * len(places)
    for call, left in zip(windows, [*places, *places]):
        inside = within(request_json, (left / FULL[1], 0, (left + size) / FULL[1], 1))
        assert judge.differences(host, only(painted, [call]), inside)[0] <= CLOSE
        assert (judge.differences(host, only(painted, [call]))[0] > FAR) == (inside is not None)
    assert painted.comments == []
    assert last_report().passes[0].windowed == len(windows)
    assert f"boxes placed in {len(windows)} UNet calls" in "\n".join(_pass(1, last_report().passes[0]))


@on("forge")
@pytest.mark.parametrize("change", ["mixed", "stretched", "flat"])
def test_a_part_without_a_known_place_is_left_out_and_said(host: ForgeStandIn, judge: Judge, change: str) -> None:
    """A shrunken image, every second cell, and a flat one that fits everywhere: never taken for the whole image."""
    parts = {
        "mixed": lambda x: x[..., ::2],
        "stretched": lambda x: torch.nn.functional.interpolate(x, scale_factor=1.5),
        "flat": lambda x: torch.ones_like(x[..., :6]),
    }

    def guide(predict: Any, x: torch.Tensor, cond: Any, _uncond: Any) -> torch.Tensor:
        return 0 * predict(cond, None, parts[change](x))[0].mean() + torch.zeros_like(x)

    with guided(host, guide):
        painted = host.paint(LEFT)
    whole = [call for call in painted.calls if call.inputs["x"].shape[-2:] == FULL]
    parts_calls = [call for call in painted.calls if call.inputs["x"].shape[-2:] != FULL]
    judge.right(host, only(painted, whole), LEFT)
    assert len(parts_calls) == 2
    assert max(judge.differences(host, only(painted, parts_calls))) <= CLOSE
    assert len(painted.comments) == 1
    assert "parts of the image whose place AnyMS cannot tell" in painted.comments[0]
    assert "AnyMS" in painted.entries
    assert last_report().passes[0].left_out == (("window_unknown", 2),)


# -- tilers that no list names -----------------------------------------------------------------------------------------


@contextmanager
def tiled(kind: type, places: list[tuple[int, int]], together: bool) -> Iterator[None]:
    """Every UNet call becomes calls on tiles (left, right), one by one or in one batch, tile after tile."""
    whole = kind._noise_in

    def noise_in(self: Any, x: torch.Tensor, sigma: float, texts: Texts, is_cond: Any, *rest: Any, **more: Any) -> Any:
        out, count = torch.zeros_like(x), torch.zeros_like(x)
        groups = [places] if together else [[place] for place in places]
        for group in groups:
            batch = torch.cat([x[..., left:right] for left, right in group])
            repeated = {name: torch.cat([text] * len(group)) for name, text in texts.items()}
            tiles = whole(self, batch, sigma, repeated, list(is_cond) * len(group), *rest, **more).chunk(len(group))
            for (left, right), tile in zip(group, tiles):
                out[..., left:right] += tile
                count[..., left:right] += 1
        return out / count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "_noise_in", noise_in)
        yield


@on("a1111", "forge")
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
@pytest.mark.parametrize("pictures", [1, 2])
def test_an_unlisted_tiler_keeps_each_subject_in_its_box(
    host: Any, judge: Judge, together: bool, pictures: int
) -> None:
    places = [(0, 6), (4, 10), (6, 12)]
    with tiled(type(host), places, together):
        painted = host.paint(BOTH, batch_size=pictures)
    entries = [each for call in painted.calls for each in split_entries(call)]
    per_tile = 2 * pictures
    assert len(entries) == 2 * len(places) * per_tile
    for number, entry in enumerate(entries):
        left, right = places[number // per_tile % len(places)]
        inside = within(BOTH, (left / FULL[1], 0, right / FULL[1], 1))
        assert judge.differences(host, only(painted, [entry]), inside)[0] <= CLOSE
    assert all(judge.acting(host, only(painted, entries)))
    assert "AnyMS" in painted.entries


@on("a1111", "forge")
def test_a_job_of_unknown_parts_only_steps_aside(host: Any, judge: Judge) -> None:
    """Every call is on every second cell: AnyMS acts nowhere, and says so."""
    whole = type(host)._noise_in

    def noise_in(self: Any, x: torch.Tensor, *rest: Any, **more: Any) -> Any:
        thin = whole(self, x[..., ::2], *rest, **more)
        return thin.repeat_interleave(2, -1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(host), "_noise_in", noise_in)
        painted = host.paint(BOTH)
    assert not any(judge.acting(host, painted))
    assert painted.entries.keys() == {"AnyMS skipped"}
    assert "cannot place" in painted.entries["AnyMS skipped"]
