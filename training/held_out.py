"""Decides which operand pairs are held out of the training for the evaluation.

Pairs of one-digit numbers are an exception. There are only a hundred, so all of them are both trained and evaluated.
"""

from zlib import crc32

COMMUTATIVE = ("+", "×", "?")


def is_held_out(operator: str, a: int, b: int) -> bool:
    """Whether the pair belongs to the evaluation. The operator "?" is a comparison.

    The order of the operands matters only for "-".
    """
    if max(a, b) < 10:
        return False
    if operator in COMMUTATIVE and a > b:
        a, b = b, a
    return crc32(f"{operator}:{a}:{b}".encode()) % 10 == 0
