"""EDN: the values that recorded histories are written in (github.com/edn-format/edn), as far as they use it.

nil, true and false, integers, strings, keywords, vectors, lists and maps. A keyword becomes its
name with the colon, so that it differs from a string; a vector or list a tuple; a map a dict.
"""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(
    r"""[\s,]* (?:
        (?P<string> "(?:[^"\\]|\\.)*" ) |
        (?P<open> [\[({] ) |
        (?P<close> [\])}] ) |
        (?P<atom> [^\s,\[\](){}"]+ )
    )""",
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"[": "]", "(": ")", "{": "}"}
_NAMES = {"nil": None, "true": True, "false": False}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def read_edn(text: str) -> Any:
    """The one value of a text. Raises ValueError, which says what was found where."""
    reader = _Reader(text)
    value = reader.value()
    reader.demand_end()
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text.rstrip(" \t\r\n,")
        self._at = 0

    def value(self) -> Any:
        token = self._token()
        if token["string"]:
            return re.sub(r"\\(.)", self._unescaped, token["string"][1:-1], flags=re.DOTALL)
        if token["atom"]:
            return self._atom(token["atom"])
        if token["close"]:
            raise ValueError(f"column {token.start('close') + 1}: {token['close']} closes nothing")
        return self._collection(token["open"])

    def demand_end(self) -> None:
        if self._at < len(self._text):
            raise ValueError(f"column {self._at + 1}: {self._text[self._at :]!r} after the value")

    def _collection(self, opened: str) -> Any:
        items = []
        while True:
            before = self._at
            token = self._token()
            if token["close"] == _CLOSES[opened]:
                break
            self._at = before
            items.append(self.value())
        if opened != "{":
            return tuple(items)
        keys = items[::2]
        if len(items) % 2 or len(set(keys)) < len(keys):
            raise ValueError(f"column {self._at}: a map ends without a value for each key, or with a key twice")
        return dict(zip(keys, items[1::2], strict=True))

    def _token(self) -> re.Match[str]:
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            raise ValueError(f"column {self._at + 1}: {self._text[self._at :]!r} where a value was expected")
        self._at = token.end()
        return token

    def _atom(self, atom: str) -> Any:
        if atom in _NAMES:
            return _NAMES[atom]
        if atom.startswith(":"):
            return atom
        if re.fullmatch(r"[+-]?\d+", atom):
            return int(atom)
        raise ValueError(f"column {self._at}: {atom} is neither a number, a keyword nor nil, true or false")

    def _unescaped(self, escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise ValueError(f"column {self._at}: {escape[0]} in a string")
        return _ESCAPES[escape[1]]
