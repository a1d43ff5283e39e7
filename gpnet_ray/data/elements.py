"""Which elements the package can work on."""

from __future__ import annotations

__all__ = ["HIGHEST_ATOMIC_NUMBER"]

HIGHEST_ATOMIC_NUMBER = 94
"""Plutonium: MEGNet's atom embedding has rows for Z = 0 … 94."""
