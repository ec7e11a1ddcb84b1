"""Known verdicts: what others found out about a recording, said by its name or by a list beside it.

A name that ends with -ok or -bad says it. So does `expected.txt` in the recording's folder or the one
above: lines of the number at the end of a name, and true if the history is linearizable.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.linearizability.history import HistoryError

LIST = "expected.txt"
_WORDS = {"true": True, "false": False}


def known_verdict(path: Path) -> bool | None:
    """Whether a recording is known to be linearizable; None if nobody said. Raises HistoryError for a bad list."""
    if path.stem.endswith(("-ok", "-bad")):
        return path.stem.endswith("-ok")
    number = re.search(r"\d+$", path.stem)
    if number is None:
        return None
    for folder in (path.absolute().parent, path.absolute().parent.parent):
        listed = folder / LIST
        if listed.is_file():
            return _listed(listed).get(int(number[0]))
    return None


def _listed(path: Path) -> dict[int, bool]:
    verdicts: dict[int, bool] = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        number, _, word = text.partition(" ")
        if not number.isdecimal() or word.strip() not in _WORDS or int(number) in verdicts:
            raise HistoryError(f"{path}:{line}: {text!r}; expected a number, once, and true or false")
        verdicts[int(number)] = _WORDS[word.strip()]
    return verdicts
