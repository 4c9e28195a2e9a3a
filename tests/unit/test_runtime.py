"""The runtime holds one value per class, and one call clears them all."""

from __future__ import annotations

from lib_anyms.runtime import Runtime


class Numbers(list[int]): ...


class Names(dict[str, str]): ...


def test_each_class_has_one_value() -> None:
    runtime = Runtime()
    assert runtime.of(Numbers) is runtime.of(Numbers)
    assert runtime.of(Numbers) is not Runtime().of(Numbers)


def test_reset_clears_every_value_and_keeps_the_objects() -> None:
    runtime = Runtime()
    numbers, names = runtime.of(Numbers), runtime.of(Names)
    numbers.append(1)
    names["a"] = "b"
    runtime.reset()
    assert (numbers, names) == ([], {})
    assert runtime.of(Numbers) is numbers
