"""Bytes at addresses: loads, stores, hashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from bpe.kernels import kernel

GOLDEN = -7046029254386353131  # 2**64 / golden ratio, as a signed number: Fibonacci hashing (Knuth, TAOCP 3, 6.4)


def _loader(bits: int) -> Any:
    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=1)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64), generate

    return load


def _storer(bits: int) -> Any:
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(value, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return store


load8: Callable[[int], int] = intrinsic(_loader(8))
load16: Callable[[int], int] = intrinsic(_loader(16))
load32: Callable[[int], int] = intrinsic(_loader(32))
load64: Callable[[int], int] = intrinsic(_loader(64))
store8: Callable[[int, int], None] = intrinsic(_storer(8))
store16: Callable[[int, int], None] = intrinsic(_storer(16))
store32: Callable[[int, int], None] = intrinsic(_storer(32))
store64: Callable[[int, int], None] = intrinsic(_storer(64))


@intrinsic
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """How many zero bits are below the lowest one; 64 for 0."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@kernel
def load_short(p: int, n: int, limit: int) -> int:
    """The n < 8 bytes at p as a number; one load unless that would pass `limit`."""
    if p + 8 <= limit:
        return load64(p) & ((1 << (8 * n)) - 1)
    value = 0
    for i in range(n):
        value |= load8(p + i) << (8 * i)
    return value


@kernel
def hash_bytes(p: int, n: int, limit: int) -> int:
    """32 bits of hash of the n bytes at p."""
    h = n * GOLDEN
    end = p + n
    while p + 8 <= end:
        h = (h ^ load64(p)) * GOLDEN
        h ^= h >> 29
        p += 8
    h = (h ^ load_short(p, end - p, limit)) * GOLDEN
    h ^= h >> 29
    return ((h * GOLDEN) >> 32) & 0xFFFFFFFF


@kernel
def same(p: int, q: int, n: int) -> bool:
    """Whether the n bytes at p are those at q."""
    i = 0
    while i + 8 <= n:
        if load64(p + i) != load64(q + i):
            return False
        i += 8
    while i < n:
        if load8(p + i) != load8(q + i):
            return False
        i += 1
    return True
