"""A seeded shuffle of very many indices that needs no memory and starts at once."""

from __future__ import annotations

from collections.abc import Iterator

from gpnet_ray.seeds import derive_seed

__all__ = ["permuted_indices"]

_ROUNDS = 6
_MASK = 0xFFFFFFFF


def permuted_indices(n: int, *, seed: int, purpose: str) -> Iterator[int]:
    """Yield each of 0 … n - 1 once, in an order that the seed and the purpose decide.

    A Feistel network over the next even power of two, in which indices beyond n are walked over
    (Black and Rogaway, CT-RSA 2002).
    """
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
    half_mask = (1 << half_bits) - 1
    keys = [derive_seed(seed, f"{purpose}, round {number}") for number in range(_ROUNDS)]
    for position in range(1 << (2 * half_bits)):
        left, right = position >> half_bits, position & half_mask
        for key in keys:
            left, right = right, left ^ (_mix(right, key) & half_mask)
        index = (left << half_bits) | right
        if index < n:
            yield index


def _mix(value: int, key: int) -> int:
    """Scramble 32 bits (the finaliser of MurmurHash3 by A. Appleby)."""
    value = (value * 0x9E3779B1 + key) & _MASK
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)
