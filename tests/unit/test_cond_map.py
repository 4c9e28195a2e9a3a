"""CondMap, and the cursor over the batch entries of a step."""

from __future__ import annotations

import pytest

from lib_anyms.engine.cond_map import CondCursor, CondMap
from lib_anyms.errors import Refused

C, U = True, False


def test_chunks_repeat_their_flag_for_every_entry() -> None:
    assert CondMap.of_chunks((U, C), 3).is_cond == (U, U, U, C, C, C)


def test_runs_are_neighbouring_entries_of_one_kind() -> None:
    assert CondMap((U, U, C, U)).runs == ((slice(0, 2), U), (slice(2, 3), C), (slice(3, 4), U))
    assert CondMap((C,)).runs == ((slice(0, 1), C),)
    assert CondMap(()).runs == ()


@pytest.mark.parametrize("split", [(4,), (2, 2), (1, 1, 1, 1), (3, 1)])
def test_a_cursor_gives_every_entry_once_in_order(split: tuple[int, ...]) -> None:
    cursor = CondCursor(CondMap((C, C, C, U)))
    assert sum((cursor.take(count).is_cond for count in split), ()) == (C, C, C, U)


def test_a_cursor_refuses_more_entries_than_were_announced() -> None:
    cursor = CondCursor(CondMap((C, U)))
    cursor.take(1)
    with pytest.raises(Refused) as refusal:
        cursor.take(2)
    assert refusal.value.cause == "rows_unknown"
    assert cursor.take(1).is_cond == (U,)


def copies(conds: CondMap, count: int) -> list[tuple[tuple[bool, ...], list[int], bool]]:
    return [(copied.is_cond, sources, padded) for copied, sources, padded in conds.with_copies(count)]


def test_a_layer_may_repeat_conditional_chunks() -> None:
    both = CondMap.of_chunks((U, C), 2)
    assert copies(both, 6) == [((U, U, C, C, C, C), [0, 1, 2, 3, 2, 3], False)]
    assert copies(both, 7) == []
    turned = CondMap.of_chunks((C, U), 1)
    assert copies(turned, 4) == [((C, C, C, U), [0, 0, 0, 3], False), ((C, C, U, U), [0, 0, 2, 3], True)]


def test_a_call_with_the_negative_prompt_alone_may_have_copies_too() -> None:
    """Some guidance makes one that the host marks as conditional."""
    assert copies(CondMap((U,)), 3) == [((U, U, U), [0, 0, 0], False)]
    assert copies(CondMap.of_chunks((U,), 2), 4) == [((U, U, U, U), [0, 1, 0, 1], False)]


def test_an_entry_of_zeros_makes_the_number_even() -> None:
    assert copies(CondMap((U,)), 2) == [((U, U), [0, 0], False), ((U, U), [0, 1], True)]
    assert copies(CondMap.of_chunks((U, C, C), 1), 6) == [((U, C, C, C, C, C), [0, 1, 1, 3, 3, 5], True)]
