"""Vector code: 64 characters of ASCII at once, and the permutations of a MinHash in registers.

It is written in LLVM's own vectors, which LLVM maps to the registers of any machine. Addresses are int64. The caller
keeps the memory at an address alive, and makes sure that a whole block can be read or written there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic

BLOCK = 64  # bytes
LANES = 16  # permutations in a vector
VECTORS = 7  # of permutations at once: 112, FineWeb's number; with their two parameters that is 21 registers of 32

cgutils: Any = untyped
_BYTES = ir.VectorType(ir.IntType(8), BLOCK)
_NUMBERS = ir.VectorType(ir.IntType(32), LANES)


def _each(value: int) -> Any:
    return ir.Constant(_BYTES, [value] * BLOCK)


def _among(builder: Any, values: Any, first: int, count: int) -> Any:
    return builder.icmp_unsigned("<", builder.sub(values, _each(first)), _each(count))


def _at(builder: Any, address: Any, kind: Any = _BYTES) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _fold_block(typing_context: Any, source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text = builder.load(_at(builder, arguments[0]), align=1)
        lower = builder.or_(text, _each(0x20))
        folded = builder.select(_among(builder, lower, 0x61, 26), lower, _each(0x20))
        builder.store(folded, _at(builder, arguments[1]), align=1)
        stops = builder.or_(_among(builder, text, 0x80, 0x80), _among(builder, text, 0x30, 10))
        return builder.bitcast(stops, ir.IntType(BLOCK))

    return types.int64(types.int64, types.int64), generate


def _plain_block(typing_context: Any, source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text = builder.load(_at(builder, arguments[0]), align=1)
        blank = builder.or_(_among(builder, text, 0x09, 5), _among(builder, text, 0x1C, 5))
        lower = builder.select(_among(builder, text, 0x41, 26), builder.or_(text, _each(0x20)), text)
        builder.store(builder.select(blank, _each(0x20), lower), _at(builder, arguments[1]), align=1)
        return builder.bitcast(_among(builder, text, 0x80, 0x80), ir.IntType(BLOCK))

    return types.int64(types.int64, types.int64), generate


def _word_bits(typing_context: Any, source: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text = builder.load(_at(builder, arguments[0]), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", text, _each(0x20)), ir.IntType(BLOCK))

    return types.int64(types.int64), generate


def _move_block(typing_context: Any, source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text = builder.load(_at(builder, arguments[0]), align=1)
        builder.store(text, _at(builder, arguments[1]), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _end_block(typing_context: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(_each(0x20), _at(builder, arguments[0]), align=1)
        return context.get_dummy_value()

    return types.void(types.int64), generate


# (source, target) -> stops: stores what ASCII characters become in the FOLD. Bit i of `stops` is set where byte i is a
# digit or not ASCII; what is stored there has no meaning.
fold_block: Callable[[int, int], int] = cast(Any, intrinsic(_fold_block))
# (source, target) -> stops: stores what ASCII characters become in PLAIN. Bit i of `stops` is set where byte i is not
# ASCII; such bytes are stored unchanged.
plain_block: Callable[[int, int], int] = cast(Any, intrinsic(_plain_block))
# (source) -> 64 bits: bit i is set where byte i is not a space.
word_bits: Callable[[int], int] = cast(Any, intrinsic(_word_bits))
move_block: Callable[[int, int], None] = cast(Any, intrinsic(_move_block))
# (target): stores a block of spaces.
end_block: Callable[[int], None] = cast(Any, intrinsic(_end_block))


def _population(typing_context: Any, value: Any) -> Any:
    """The number of bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


population: Callable[[int], int] = cast(Any, intrinsic(_population))


def _lower_minima(vectors: int) -> Any:
    def lower_minima(typing_context: Any, values: Any, count: Any, a: Any, b: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, count, *parameters = arguments
            a, b, out = (_at(builder, address, _NUMBERS) for address in parameters)

            def lane(pointer: Any, i: int) -> Any:
                return builder.gep(pointer, [ir.Constant(ir.IntType(64), i)])

            factors = [builder.load(lane(a, i), align=4) for i in range(vectors)]
            terms = [builder.load(lane(b, i), align=4) for i in range(vectors)]
            minima = [cgutils.alloca_once(builder, _NUMBERS) for _ in range(vectors)]  # LLVM puts them in registers
            for i in range(vectors):
                builder.store(builder.load(lane(out, i), align=4), minima[i])
            numbers = builder.inttoptr(first, ir.IntType(32).as_pointer())
            undefined, zeros = ir.Constant(_NUMBERS, ir.Undefined), ir.Constant(_NUMBERS, [0] * LANES)
            with cgutils.for_range(builder, count) as loop:
                value = builder.load(builder.gep(numbers, [loop.index]), align=4)
                one = builder.insert_element(undefined, value, ir.IntType(32)(0))
                all_lanes = builder.shuffle_vector(one, undefined, zeros)
                for i in range(vectors):
                    hashed = builder.add(builder.mul(all_lanes, factors[i]), terms[i])
                    before = builder.load(minima[i])
                    smaller = builder.icmp_unsigned("<", hashed, before)
                    builder.store(builder.select(smaller, hashed, before), minima[i])
            for i in range(vectors):
                builder.store(builder.load(minima[i]), lane(out, i), align=4)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), generate

    return intrinsic(lower_minima)


# (values, count, a, b, out): out[k] = min(out[k], a[k] * x + b[k]) over uint32 values x, VECTORS * LANES or LANES k.
lower_minima: Callable[[int, int, int, int, int], None] = cast(Any, _lower_minima(VECTORS))
lower_vector: Callable[[int, int, int, int, int], None] = cast(Any, _lower_minima(1))
