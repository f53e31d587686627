"""The encoder's kernels as plain Python that checks every address before it reads or writes there.

The compiled kernels work on raw addresses, and unmapped pages (tests/support/guarded_encoder.py) only show an access
beyond a page. Here each array is a range of its own, and the input must not be written. The functions are the kernels'
own source with other loads and stores. Their ids are equal because `Int64` makes Python's numbers wrap around.
"""

from __future__ import annotations

import bisect
import ctypes
import itertools
import operator
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import bpe.kernels.blocks
import bpe.kernels.encode
import bpe.kernels.memory
import bpe.kernels.scan
import bpe.kernels.split
import bpe.kernels.tables
import bpe.kernels.words
from bpe.encode import CLASSES, Encoder, Scratch
from bpe.kernels.encode import LONG_LINE_BYTES
from bpe.kernels.memory import LANES
from bpe.kernels.tables import Tables
from bpe.patterns import is_named
from bpe.regex_split import regex_table
from bpe.texts import from_bytes


def encode(encoder: Encoder, texts: list[bytes], scratch: Scratch) -> list[list[int]]:
    """Ids of each text, by way of the caches in `scratch`. Raises MemoryError for a read or write out of bounds."""
    memory, run = Memory(), from_bytes(texts)
    inputs = [*encoder._arrays, run.content, run.offsets]
    out, bounds = np.empty(run.size + LONG_LINE_BYTES, encoder.dtype), np.empty(len(texts) + 1, np.int64)
    outputs = [*scratch.arrays, out, bounds]
    if not is_named(encoder.vocabulary.pattern):
        table = regex_table(encoder.vocabulary.pattern, run)
        scratch.tables[CLASSES] = table.ctypes.data
        outputs.append(table)
    for arrays, writable in ((inputs, False), (outputs, True)):
        for i, array in enumerate(arrays):
            memory.allow(f"{'output' if writable else 'input'} {i}", array.ctypes.data, array.nbytes, writable)
    names, tables = kernels(memory), Tables(*map(Int64, scratch.tables))
    names["tables_at"] = lambda address: tables
    start = Int64(run.content.ctypes.data)
    numbers = (
        start,
        start + len(run.content),
        run.offsets.ctypes.data,
        len(texts),
        out.ctypes.data,
        bounds.ctypes.data,
    )
    with np.errstate(over="ignore"):  # numbers out of numpy's arrays wrap around too
        names["encode_texts"](0, *map(Int64, numbers))
    return [out[first:last].tolist() for first, last in itertools.pairwise(bounds.tolist())]


class Int64(int):
    """A signed number of 64 bits that wraps around."""


def _wrapping(function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def wrapped(left: int, right: int) -> int:
        value = function(int(left), int(right))
        return Int64((value + (1 << 63)) % (1 << 64) - (1 << 63))

    return wrapped


for _name in ("add", "sub", "mul", "lshift", "rshift", "and", "or", "xor", "floordiv", "mod"):
    _function = _wrapping(getattr(operator, f"{_name}_" if _name in ("and", "or") else _name))
    setattr(Int64, f"__{_name}__", _function)
    setattr(Int64, f"__r{_name}__", lambda self, other, function=_function: function(other, self))
setattr(Int64, "__neg__", lambda self: 0 - self)  # noqa: B010 - as the others
setattr(Int64, "__invert__", lambda self: -1 - self)  # noqa: B010


class Range(NamedTuple):
    start: int
    end: int
    writable: bool
    name: str


class Memory:
    """Which bytes may be read and which may be written, as a range for each array."""

    def __init__(self) -> None:
        self._ranges: list[Range] = []

    def allow(self, name: str, start: int, size: int, writable: bool) -> None:
        if size:
            bisect.insort(self._ranges, Range(int(start), int(start) + size, writable, name))

    def check(self, address: int, size: int, writing: bool) -> None:
        """Raises MemoryError unless all the bytes lie in one array, which may be written if `writing`."""
        place = bisect.bisect_right(self._ranges, address, key=lambda found: found.start) - 1
        found = self._ranges[place] if place >= 0 else Range(0, 0, False, "nothing")
        if not (found.start <= address and address + size <= found.end and (found.writable or not writing)):
            what = "writes" if writing else "reads"
            raise MemoryError(
                f"{what} {size} bytes at {found.name} + {address - found.start} of {found.end - found.start}"
            )

    def load(self, address: int, size: int) -> bytes:
        self.check(address, size, False)
        return ctypes.string_at(int(address), size)

    def store(self, address: int, value: int, size: int) -> None:
        self.check(address, size, True)
        ctypes.memmove(int(address), (int(value) % (1 << 8 * size)).to_bytes(size, "little"), size)


class _Numpy:
    """numpy, except that the memory knows the arrays that a kernel makes, and keeps them."""

    int64 = Int64

    def __init__(self, memory: Memory) -> None:
        self._memory, self._kept = memory, []  # type: tuple[Memory, list[NDArray[Any]]]

    def __getattr__(self, name: str) -> Any:
        if name not in ("empty", "full", "arange", "zeros"):
            return getattr(np, name)

        def made(*arguments: Any) -> NDArray[Any]:
            array = getattr(np, name)(*arguments)
            self._kept.append(array)
            self._memory.allow("an array of the kernel's own", array.ctypes.data, array.nbytes, True)
            return array  # type: ignore[no-any-return]

        return made


def kernels(memory: Memory) -> dict[str, Any]:
    """The kernels of the encoder by name, with checked loads and stores."""
    names: dict[str, Any] = {}
    for module in ("memory", "scan", "blocks", "split", "tables", "words", "encode"):
        names |= vars(getattr(bpe.kernels, module))
    for name, value in list(names.items()):
        if hasattr(value, "py_func"):
            code = value.py_func.__code__
            literals = tuple(Int64(literal) if type(literal) is int else literal for literal in code.co_consts)
            names[name] = types.FunctionType(code.replace(co_consts=literals), names, name)
    for size in (1, 2, 4, 8):
        names[f"load{8 * size}"] = lambda address, size=size: Int64.from_bytes(
            memory.load(address, size), "little", signed=size == 8
        )
        names[f"store{8 * size}"] = lambda address, value, size=size: memory.store(address, value, size)
    names |= {"np": _Numpy(memory), "prefetch": lambda address: None}
    names |= {"trailing_zeros": _trailing_zeros, "leading_zeros": lambda value: 64 - (value % (1 << 64)).bit_length()}
    names["least"] = lambda address: _least(memory.load(address, 4 * LANES))
    names["classify"] = lambda address: _classify(memory.load(address, 64))
    return names


def _trailing_zeros(value: int) -> int:
    value = int(value) % (1 << 64)
    return Int64((value & -value).bit_length() - 1 if value else 64)


def _least(content: bytes) -> tuple[int, int]:
    values = np.frombuffer(content, np.uint32).tolist()
    return Int64(min(values)), Int64(values.index(min(values)))


def _classify(content: bytes) -> tuple[int, ...]:
    tests: list[Callable[[int], bool]] = [
        lambda byte: chr(byte).isalpha() and byte < 0x80,
        lambda byte: chr(byte).isupper() and byte < 0x80,
        lambda byte: 0x30 <= byte <= 0x39,
        lambda byte: byte in b" \t\n\v\f\r",
        lambda byte: byte in b"\r\n",
        lambda byte: byte == 0x20,
        lambda byte: byte == 0x27,
        lambda byte: byte >= 0x80,
    ]
    words = [sum(test(byte) << i for i, byte in enumerate(content)) for test in tests]
    return tuple(Int64((word + (1 << 63)) % (1 << 64) - (1 << 63)) for word in words)
