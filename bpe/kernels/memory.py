"""Memory at raw addresses: loads, stores, bit scans and hashes for the kernels.

An address and a value are an int64 each. `load8` to `load32` give an unsigned number, `load64` a signed one; the
stores write the low bits of their value. Nothing is checked: the caller bounds every address. Numba has none of these
operations, so they are written in LLVM's intermediate representation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
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


load8: Callable[[int], int] = cast(Any, intrinsic(_loader(8)))
load16: Callable[[int], int] = cast(Any, intrinsic(_loader(16)))
load32: Callable[[int], int] = cast(Any, intrinsic(_loader(32)))
load64: Callable[[int], int] = cast(Any, intrinsic(_loader(64)))
store8: Callable[[int, int], None] = cast(Any, intrinsic(_storer(8)))
store16: Callable[[int, int], None] = cast(Any, intrinsic(_storer(16)))
store32: Callable[[int, int], None] = cast(Any, intrinsic(_storer(32)))
store64: Callable[[int, int], None] = cast(Any, intrinsic(_storer(64)))


def _trailing_zeros(typing_context: Any, value: Any) -> Any:
    """The number of zero bits below the lowest one bit; 64 for a value of 0."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


trailing_zeros: Callable[[int], int] = cast(Any, intrinsic(_trailing_zeros))


def _leading_zeros(typing_context: Any, value: Any) -> Any:
    """The number of zero bits above the highest one bit; 64 for a value of 0."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


leading_zeros: Callable[[int], int] = cast(Any, intrinsic(_leading_zeros))

LANES = 16  # numbers of 32 bits that `least` compares at once


def _least(typing_context: Any, address: Any) -> Any:
    """(the least of the LANES uint32 at an address, the index of the first one that equals it)."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        number, word, lanes = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.IntType(32), LANES)
        values = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=4)
        kind = ir.FunctionType(number, [lanes])
        name = f"llvm.vector.reduce.umin.v{LANES}i32"
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        least = builder.call(reduce, [values])
        all_least = builder.shuffle_vector(
            builder.insert_element(ir.Constant(lanes, ir.Undefined), least, number(0)),
            ir.Constant(lanes, ir.Undefined),
            ir.Constant(lanes, [0] * LANES),
        )
        where = builder.bitcast(builder.icmp_unsigned("==", values, all_least), ir.IntType(LANES))
        first = builder.cttz(builder.zext(where, word), ir.Constant(ir.IntType(1), 0))
        return context.make_tuple(builder, signature.return_type, [builder.zext(least, word), first])

    pair: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]
    return pair(types.int64), generate


least: Callable[[int], tuple[int, int]] = cast(Any, intrinsic(_least))


def _prefetch(typing_context: Any, address: Any) -> Any:
    """Have the processor fetch the cache line at an address that will be read soon."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(function, [builder.inttoptr(arguments[0], byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


prefetch: Callable[[int], None] = cast(Any, intrinsic(_prefetch))


@kernel
def load_short(p: int, n: int, limit: int) -> int:
    """The n < 8 bytes at p as a little-endian number. Reads 8 bytes at once unless that would pass `limit`."""
    if p + 8 <= limit:
        return load64(p) & ((1 << (8 * n)) - 1)
    value = 0
    for i in range(n):
        value |= load8(p + i) << (8 * i)
    return value


@kernel
def hash_bytes(p: int, n: int, limit: int) -> int:
    """A hash of 32 bits of the n bytes at p. Bytes up to the address `limit` may be read."""
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
    """Whether the n bytes at p equal the n bytes at q."""
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
