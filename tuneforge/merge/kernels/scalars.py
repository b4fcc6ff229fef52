"""Machine operations that numba does not name: fused multiply-add, bit casts, float conversions."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import float32, uint16, uint32
from numba.extending import intrinsic

_WORD = ir.IntType(32)


def _unary(result: Any, emit: Callable[[Any, Any], Any]) -> Any:
    """Make an intrinsic of one argument from the instruction that ``emit`` writes."""

    def declare(typing_context: Any, value: Any) -> Any:
        del typing_context

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del context, signature
            return emit(builder, arguments[0])

        return result(value), generate

    return intrinsic(declare)


@intrinsic  # type: ignore[untyped-decorator]
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Compute ``a * b + c`` with one rounding, as the matrix product of a BLAS does."""
    del typing_context, b, c

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.fma(*arguments)

    return a(a, a, a), generate


def _from_brain(builder: Any, bits: Any) -> Any:
    word = builder.shl(builder.zext(bits, _WORD), ir.Constant(_WORD, 16))
    return builder.bitcast(word, ir.FloatType())


def _to_brain(builder: Any, value: Any) -> Any:
    bits = builder.bitcast(value, _WORD)
    odd = builder.and_(builder.lshr(bits, ir.Constant(_WORD, 16)), ir.Constant(_WORD, 1))
    rounded = builder.add(bits, builder.add(odd, ir.Constant(_WORD, 0x7FFF)))
    kept = builder.trunc(builder.lshr(rounded, ir.Constant(_WORD, 16)), ir.IntType(16))
    nan = builder.fcmp_unordered("uno", value, value)
    return builder.select(nan, ir.Constant(ir.IntType(16), 0x7FC0), kept)


def _from_half(builder: Any, bits: Any) -> Any:
    return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())


def _to_half(builder: Any, value: Any) -> Any:
    return builder.bitcast(builder.fptrunc(value, ir.HalfType()), ir.IntType(16))


# Written as instructions: numba would widen the integer arithmetic to 64 bits, at half the speed.
brain_to_float = _unary(float32, _from_brain)
float_to_brain = _unary(uint16, _to_brain)
half_to_float = _unary(float32, _from_half)
float_to_half = _unary(uint16, _to_half)
bits_of = _unary(uint32, lambda builder, value: builder.bitcast(value, _WORD))
