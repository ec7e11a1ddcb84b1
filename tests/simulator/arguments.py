"""Arguments: numbers that the commands take. A run of nothing would find nothing and call that well."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number above 0. Raises ArgumentTypeError, which argparse shows."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return int(text)


def span(text: str) -> float:
    """A number above 0. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return value
