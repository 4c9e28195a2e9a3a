"""Local text: each subject has its own prompt at its tokens, another one elsewhere; all other text is the host's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lib_anyms.engine import fused as fused_module
from lib_anyms.engine import local_text
from lib_anyms.engine.attention import split_heads
from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.engine.local_text import LocalText, Texts
from lib_anyms.engine.region_merge import RegionMerge
from lib_anyms.engine.sdpa import CHECKS
from lib_anyms.layout.fade import Fade
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout
from tests.support import oracle
from tests.support.streams import NextCall, injected, layer_changes, layout_of, stream_on
from tests.support.tiny_unet import CrossAttention, inputs, tiny_unet

HEADS, WIDTH, CONTEXT = 2, 16, 12
GRID = TokenGrid(9, 11)
LAYOUT = layout_of((0.0, 0.0, 0.6, 0.7), (0.4, 0.3, 1.0, 0.8), (0.1, 0.1, 0.3, 0.3))
HOST, FOX, OWL, GROUND, BLUR = "host", "fox", "owl", "ground", "blur"
CALL = CondMap((False, True, True))


def context(name: str, tokens: int = 7) -> torch.Tensor:
    make = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.randn(tokens, CONTEXT, generator=make, dtype=torch.float64)


CONTEXTS = {name: context(name, 5 + number) for number, name in enumerate((HOST, FOX, OWL, GROUND, BLUR))}


def layer() -> Layer:
    torch.manual_seed(0)
    attention = CrossAttention(WIDTH, CONTEXT, HEADS).double()
    return Layer(1, "attn2", attention, nn.Identity())


def texts(*names: str | None, elsewhere: str | None = None) -> Texts:
    contexts = tuple(None if name is None else CONTEXTS[name] for name in names)
    return Texts(contexts, None if elsewhere is None else CONTEXTS[elsewhere])


NOTHING = texts(None, None, None)


def queries() -> torch.Tensor:
    make = torch.Generator().manual_seed(7)
    return torch.randn(len(CALL.is_cond), GRID.tokens, WIDTH, generator=make, dtype=torch.float64)


def attended(name: str) -> torch.Tensor:
    """The attention of all queries over one text, in plain arithmetic."""
    attention, query = layer().attention, queries()
    key, value = attention.to_k(CONTEXTS[name]), attention.to_v(CONTEXTS[name])
    heads = []
    for head in range(HEADS):
        part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        scores = query[..., part] @ key[:, part].T / (WIDTH // HEADS) ** 0.5
        heads.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(heads, -1).detach()


def localised(
    cond: Texts,
    uncond: Texts = NOTHING,
    share: float = 1.0,
    strengths: tuple[float, ...] = (1.0, 1.0, 1.0),
    fused: bool = False,
    layout: Layout = LAYOUT,
) -> torch.Tensor:
    local = LocalText(layout, lambda: (cond, uncond), share)
    local.begin_call(strengths)
    text = attended(HOST)
    local.apply(layer(), GRID, queries(), text, CALL, fused)
    return text


def expected(cond: list[str], uncond: list[str], owner: torch.Tensor, share: float = 1.0) -> torch.Tensor:
    """cond, uncond: the text of each subject, then of elsewhere."""
    result = attended(HOST)
    for entry, is_cond in enumerate(CALL.is_cond):
        for number, name in enumerate(cond if is_cond else uncond):
            subject = number if number < len(cond) - 1 else -1
            place = owner == subject
            result[entry, place] = (1 - share) * result[entry, place] + share * attended(name)[entry, place]
    return result


OWNER = oracle.owners(LAYOUT, GRID.height, GRID.width)
FORMS = pytest.mark.parametrize("fused", [False, True], ids=["by subject", "fused"])


@FORMS
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_each_token_attends_to_the_text_of_its_owner(fused: bool, share: float) -> None:
    result = localised(
        texts(FOX, OWL, HOST, elsewhere=GROUND), texts(BLUR, None, None, elsewhere=FOX), share, fused=fused
    )
    wish = expected([FOX, OWL, HOST, GROUND], [BLUR, HOST, HOST, FOX], OWNER, share)
    assert (result - wish).abs().max() < 1e-12


@pytest.mark.parametrize("call", [CALL, CondMap((True, False, True)), CondMap((True, True, True))], ids=str)
@pytest.mark.parametrize(
    "uncond",
    [NOTHING, texts(BLUR, None, FOX), texts(None, None, None, elsewhere=BLUR)],
    ids=["nothing to avoid", "two texts to avoid", "elsewhere"],
)
def test_the_fused_form_is_one_attention_for_all_entries(
    call: CondMap, uncond: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    cond = texts(None, OWL, FOX, elsewhere=GROUND)
    results, calls = [], []
    attend = fused_module.attend
    monkeypatch.setattr(fused_module, "attend", lambda *args: calls.append(1) or attend(*args))
    for at_once in (False, True):
        local = LocalText(LAYOUT, lambda: (cond, uncond), 0.75)
        local.begin_call((1.0, 1.0, 1.0))
        text = attended(HOST)
        local.apply(layer(), GRID, queries(), text, call, at_once)
        results.append(text)
    assert (results[0] - results[1]).abs().max() < 1e-12
    untouched = results[0] == attended(HOST)
    assert torch.equal(results[1][untouched], results[0][untouched])  # the host's text stays bit for bit
    assert len(calls) == 1


def test_a_later_strength_of_zero_leaves_the_subjects_their_prompts() -> None:
    seen = []
    local: Any = SimpleNamespace(begin_call=seen.append)
    sets: Any = None  # no layer asks for keys
    RegionMerge(LAYOUT, sets, 1.0, "crop-merge", (), local_text=local, fade=Fade(0.0, 0.0)).begin_call(0.5)
    assert seen == [(1.0, 1.0, 1.0)]


@FORMS
def test_the_same_text_everywhere_is_the_host(fused: bool) -> None:
    same = texts(HOST, HOST, HOST, elsewhere=HOST)
    assert (localised(same, same, fused=fused) - attended(HOST)).abs().max() < 1e-12


@FORMS
def test_without_texts_or_share_nothing_changes_bit_for_bit(fused: bool) -> None:
    assert torch.equal(localised(NOTHING, fused=fused), attended(HOST))
    own = texts(FOX, OWL, FOX, elsewhere=GROUND)
    assert torch.equal(localised(own, own, share=0.0, fused=fused), attended(HOST))


@FORMS
def test_only_the_tokens_of_the_owner_change(fused: bool) -> None:
    changed = (localised(texts(None, OWL, None), fused=fused) != attended(HOST)).any(-1)
    assert torch.equal(changed[1], OWNER == 1)
    assert torch.equal(changed[2], OWNER == 1)
    assert not changed[0].any()  # unconditional: no `avoid`


@FORMS
def test_the_text_to_avoid_changes_unconditional_entries_only(fused: bool) -> None:
    changed = (localised(NOTHING, texts(None, BLUR, None), fused=fused) != attended(HOST)).any(-1)
    assert torch.equal(changed[0], OWNER == 1)
    assert not changed[1:].any()


@FORMS
def test_elsewhere_is_where_no_box_lies(fused: bool) -> None:
    """A subject outside its steps keeps its tokens, with the host's text."""
    own = texts(None, None, None, elsewhere=GROUND)
    changed = (localised(own, fused=fused) != attended(HOST)).any(-1)
    assert torch.equal(changed[1], OWNER == -1)
    resting = (localised(own, strengths=(1.0, 0.0, 1.0), fused=fused) != attended(HOST)).any(-1)
    assert torch.equal(resting[1], OWNER == -1)
    own = texts(None, FOX, None)
    assert torch.equal(localised(own, strengths=(1.0, 0.0, 1.0), fused=fused), attended(HOST))


@FORMS
def test_a_text_is_projected_once_and_again_where_the_cache_is_full(
    fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    one = layer()
    one.attention.to_k.register_forward_hook(lambda *_: counted.append(1))
    own = texts(FOX, OWL, None)
    for limit, calls in ((2**30, 2), (0, 6)):
        monkeypatch.setattr(local_text, "CACHE_BYTES", limit)
        local = LocalText(LAYOUT, lambda: (own, NOTHING))
        counted.clear()
        for _ in range(3):
            local.begin_call((1.0, 1.0, 1.0))
            local.apply(one, GRID, queries(), attended(HOST), CALL, fused)
        assert len(counted) == calls


@FORMS
def test_texts_follow_the_dtype_of_the_query(fused: bool) -> None:
    """As keys and values do: a host may sample in another dtype than in the call before."""
    one = layer()
    local = LocalText(LAYOUT, lambda: (texts(FOX, OWL, FOX, elsewhere=GROUND), NOTHING))
    for dtype in (torch.float64, torch.float32):
        one.attention.to(dtype)
        local.begin_call((1.0, 1.0, 1.0))
        text = attended(HOST).to(dtype)
        local.apply(one, GRID, queries().to(dtype), text, CALL, fused)
        wish = expected([FOX, OWL, FOX, GROUND], [HOST] * 4, OWNER)
        assert (text - wish).abs().max() < (1e-12 if dtype == torch.float64 else 1e-5)
    assert CHECKS.unfit == {}  # mixed dtypes would end in plain softmax


@FORMS
def test_texts_joined_in_one_context_share_one_softmax(fused: bool) -> None:
    """The form that BREAK makes: the main and the own text side by side."""
    joined = torch.cat((CONTEXTS[HOST], CONTEXTS[FOX]))
    result = localised(Texts((joined, None, None)), fused=fused)
    attention, query = layer().attention, queries()
    key, value = (split_heads(project(joined), HEADS) for project in (attention.to_k, attention.to_v))
    scores = split_heads(query, HEADS) @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
    expected = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    assert (result[1, OWNER == 0] - expected[1, OWNER == 0]).abs().max() < 1e-12
    assert torch.equal(result[1, OWNER != 0], attended(HOST)[1, OWNER != 0])


def test_a_prompt_that_changes_with_the_steps_is_followed() -> None:
    step = iter([texts(FOX, None, None), texts(OWL, None, None)])
    local = LocalText(LAYOUT, lambda: (next(step), NOTHING))
    for name in (FOX, OWL):
        local.begin_call((1.0, 1.0, 1.0))
        text = attended(HOST)
        local.apply(layer(), GRID, queries(), text, CALL, False)
        assert (text[1, OWNER == 0] - attended(name)[1, OWNER == 0]).abs().max() < 1e-12


# -- on a UNet ---------------------------------------------------------------------------------------------------------


def test_the_context_of_each_prompt_gives_the_output_of_the_host() -> None:
    """The image stream is off; the text stream is computed again at every token of every layer."""
    unet = tiny_unet(torch.float64)
    x, timesteps, text = inputs(2, 16, 16, torch.float64)
    same = tuple(Texts((text[entry],), text[entry]) for entry in (1, 0))
    layout = layout_of((0.0, 0.0, 0.5, 1.0))
    local = LocalText(layout, lambda: same)
    stream = stream_on(unet, layout, NextCall(False, True), scale=0.0, local_text=local)
    with torch.no_grad():
        plain = unet(x, timesteps, text)
        with injected(stream):
            assert (unet(x, timesteps, text) - plain).abs().max() < 1e-10
        assert torch.equal(unet(x, timesteps, text), plain)


@pytest.mark.parametrize("fused", [False, True], ids=["by subject", "fused"])
def test_in_a_unet_the_left_half_follows_its_prompt_and_the_right_one_the_other(fused: bool) -> None:
    unet = tiny_unet(torch.float64)
    x, timesteps, text = inputs(3, 16, 16, torch.float64)
    fox, ground = text[1], text[2]
    layout = layout_of((0.0, 0.0, 0.5, 1.0))
    local = LocalText(layout, lambda: (Texts((fox,), ground), Texts((None,))))
    stream = stream_on(unet, layout, NextCall(False, True), scale=0.0, local_text=local)
    stream.region_merge.use_fused = fused

    def run(context: torch.Tensor) -> None:
        with torch.no_grad():
            unet(x[:2], timesteps[:2], context)

    first = next(layer.name for layer in cross_attention_layers(unet))
    (mixed,) = layer_changes(unet, lambda: run(text[[0, 0]]), stream)
    (left,) = layer_changes(unet, lambda: run(text[[0, 1]]), None)
    (right,) = layer_changes(unet, lambda: run(text[[0, 2]]), None)
    inside = torch.tensor(layout.owner_map(TokenGrid(8, 8))) == 0
    assert (mixed[first][1, inside] - left[first][1, inside]).abs().max() < 1e-12
    assert (mixed[first][1, ~inside] - right[first][1, ~inside]).abs().max() < 1e-12
    assert torch.equal(mixed[first][0], left[first][0])
