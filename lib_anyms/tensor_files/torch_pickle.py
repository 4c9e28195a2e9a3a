"""Read the pickle inside torch's zip as data: a stack machine for dicts, numbers, text and tensors.

Python's unpickler imports and calls whatever a pickle names. This one imports and calls nothing by name: any opcode or
name outside the tables below is refused, and those inside build inert values of this module. torch writes these pickles
in torch/_utils.py (`_rebuild_tensor_v2`, `_rebuild_parameter`) and torch/serialization.py (`persistent_id`).
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from lib_anyms.errors import Refused

PICKLE_LIMIT = 16 * 2**20  # bytes; the pickle of a whole SDXL checkpoint takes 0.4 MiB
STEP_LIMIT = 10**6  # opcodes, memo entries and dict entries; a tensor takes about 30 opcodes
STACK_LIMIT = 2**14  # pickle sets dict entries in batches of a thousand
DEPTH_LIMIT = 16  # dicts in dicts
TENSOR_LIMIT = 2**15  # tensors per file; a whole SDXL checkpoint has 2600
NAME_LIMIT = 256  # characters
NUMBER_LIMIT = 2**63


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place as the pickle claims it, unchecked: elements of `dtype` in the storage named `key`."""

    dtype: torch.dtype
    key: str
    storage_count: int
    offset: int
    shape: tuple[Any, ...]
    stride: tuple[Any, ...]


@dataclass(frozen=True)
class _Name:
    """A global that the pickle names, as "module name"; never looked up."""

    text: str


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    count: int


class _Malformed(ValueError):
    """The pickle is wrong; `read_pickle` turns this into Refused."""


def read_pickle(pickle: bytes, path_name: str) -> dict[str, StoredTensor]:
    """The tensors by dotted name: {"image_proj": {"proj.weight": t}} -> "image_proj.proj.weight".

    Other values are left out. Raises Refused for a pickle that is damaged, needs code to run, or exceeds a limit.
    """
    try:
        tree = _Machine(path_name).run(pickle)
        if not isinstance(tree, dict):
            raise _Malformed(f"{type(tree).__name__.strip('_')} where a dict of tensors is expected")
        return _flatten(tree)
    except (ValueError, struct.error, OverflowError) as error:
        raise Refused("file_damaged", path=path_name, got=f"pickle: {str(error)[:120]!a}") from error


def _flatten(tree: dict[str, Any]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for count, (name, value) in enumerate(_leaves(tree, "", 1)):
        if count > STEP_LIMIT or len(name) > NAME_LIMIT:
            raise _Malformed("too many names, or a name too long")
        if isinstance(value, StoredTensor):
            if name in tensors:
                raise _Malformed(f"two tensors named {name}")
            if len(tensors) == TENSOR_LIMIT:  # shared nested dicts make millions of names from a few bytes
                raise _Malformed("more tensors than any model has")
            tensors[name] = value
    return tensors


def _leaves(tree: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > DEPTH_LIMIT:
        raise _Malformed("dicts nested too deeply")
    for key, value in tree.items():
        yield prefix + key, value
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.", depth + 1)


class _Machine:
    """Pickle's stack and memo for the opcodes in `_OPCODES`."""

    def __init__(self, path_name: str) -> None:
        self.path_name = path_name
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        """The value that the pickle leaves on the stack."""
        stream = io.BytesIO(pickle)
        for _ in range(STEP_LIMIT):
            opcode = _CODES.get(stream.read(1))
            if opcode is None:
                raise _Malformed("it ends early, or is not a pickle")
            if opcode.name not in _OPCODES:
                raise self.refusal(f"the opcode {opcode.name}")
            _OPCODES[opcode.name](self, _argument(opcode, stream))
            if opcode.name == "STOP":
                return self.pop()
            if len(self.stack) > STACK_LIMIT:
                raise _Malformed("more values at once than any model needs")
        raise _Malformed("more steps than any model needs")

    def refusal(self, what: str) -> Refused:
        """The error for a value that only running code could read."""
        return Refused("file_code", path=self.path_name, got=what)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, kind: type = object) -> Any:
        """The topmost value, which must be of `kind`."""
        if not self.stack or self.stack[-1] is _MARK or not isinstance(self.stack[-1], kind):
            raise _Malformed(f"no {kind.__name__.strip('_')} where one is expected")
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def pop_to_mark(self) -> list[Any]:
        values = []
        while self.stack and self.stack[-1] is not _MARK:
            values.append(self.stack.pop())
        if not self.stack:
            raise _Malformed("no mark where one is expected")
        self.stack.pop()
        return values[::-1]

    def number(self, value: int) -> None:
        if not -NUMBER_LIMIT <= value < NUMBER_LIMIT:
            raise _Malformed("a number of more than 64 bits")
        self.push(value)

    def set_items(self, items: list[Any]) -> None:
        """Put alternating keys and values into the dict below them on the stack; keys become text."""
        target = self.pop(dict)
        if len(items) % 2 or not all(type(key) in (str, int) for key in items[::2]):
            raise _Malformed("a dict with keys that are not names")
        target.update(zip(map(str, items[::2]), items[1::2]))
        self.push(target)

    def append(self, values: list[Any]) -> None:
        target = self.pop(list)
        target.extend(values)
        self.push(target)

    def put(self, number: int) -> None:
        if not number < STEP_LIMIT:
            raise _Malformed("a memo number out of bounds")
        self.push(self.pop())
        self.memo[number] = self.stack[-1]

    def get(self, number: int) -> None:
        if number not in self.memo:
            raise _Malformed("a memo that was never stored")
        self.push(self.memo[number])

    def name(self, text: str) -> None:
        if text not in _CALLS and text not in STORAGES:
            raise self.refusal(ascii(text.replace(" ", "."))[1:-1][:60])
        self.push(_Name(text))

    def reduce(self, _: None) -> None:
        arguments, name = self.pop(tuple), self.pop(_Name)
        if name.text not in _CALLS:
            raise _Malformed("a call of a storage")
        self.push(_CALLS[name.text](*_fitted(arguments, name.text)))

    def build(self, _: None) -> None:
        """Drop the attributes of a state dict: torch stores `_metadata` there."""
        self.pop(dict)
        self.push(self.pop(dict))

    def storage(self, _: None) -> None:
        identity = self.pop(tuple)
        if len(identity) != 5:
            raise _Malformed("a storage of an unknown form")
        word, name, key, _device, count = identity
        if word != "storage" or not isinstance(name, _Name) or name.text not in STORAGES:
            raise _Malformed("a storage of an unknown form")
        if not isinstance(key, str) or type(count) is not int:
            raise _Malformed("a storage of an unknown form")
        self.push(_Storage(STORAGES[name.text], key, count))


def _argument(opcode: pickletools.OpcodeInfo, stream: io.BytesIO) -> Any:
    """The opcode's argument. Names are read here: pickletools decodes backslashes in them, unpicklers do not."""
    if opcode.name == "GLOBAL":
        return " ".join(stream.readline()[:-1].decode() for _ in range(2))
    return opcode.arg.reader(stream) if opcode.arg else None


def _fitted(arguments: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """A call's arguments, checked against the types its function takes; extra ones (gradients, hooks) are dropped."""
    kinds = _ARGUMENTS[name]
    if len(arguments) < len(kinds) or not all(type(value) is kind for value, kind in zip(arguments, kinds)):
        raise _Malformed(f"{name} of an unknown form")
    if len(arguments) > 6 and arguments[6]:
        raise _Malformed(f"{name} with flags (conjugate or negative view)")
    return arguments[: len(kinds)]


def _tensor(storage: _Storage, offset: int, shape: tuple[Any, ...], stride: tuple[Any, ...]) -> StoredTensor:
    return StoredTensor(storage.dtype, storage.key, storage.count, offset, shape, stride)


_MARK = object()

STORAGES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}

_ARGUMENTS: dict[str, tuple[type, ...]] = {
    "collections OrderedDict": (),
    "torch._utils _rebuild_tensor_v2": (_Storage, int, tuple, tuple),
    "torch._utils _rebuild_parameter": (StoredTensor,),
}
_CALLS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": lambda tensor: tensor,
}

# pickletools knows how each opcode's argument is encoded. Its `genops` is not used: it also decodes the arguments of
# refused opcodes, and a number of a million digits takes minutes.
_CODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}

# The opcodes that pickle protocol 2, which `torch.save` uses, needs for such values.
_OPCODES: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "BININT": _Machine.number,
    "BININT1": _Machine.number,
    "BININT2": _Machine.number,
    "LONG1": _Machine.number,
    "BINFLOAT": _Machine.push,
    "BINUNICODE": _Machine.push,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": lambda machine, _: machine.push(_MARK),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_many(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_many(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_many(3))),
    "APPEND": lambda machine, _: machine.append(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}
