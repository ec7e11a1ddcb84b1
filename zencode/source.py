"""Source: the text of a binding, from bytes to lines that are safe to read.

Accepted: UTF-8, one byte-order mark at the very start, lines ended by LF or CRLF,
tabs and no-break spaces as spaces; accents are composed (NFC). Refused: control
and invisible characters anywhere, outside comments also whatever `characters`
lacks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from zencode.characters import first_outside
from zencode.document import MAX_LINE, MAX_TEXT_BYTES
from zencode.mistakes import Notebook, StopReadingError

_SPACES = re.compile(r"[\t\u00a0\u202f]")
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Control, format (bidirectional marks, zero-width), surrogate, private, line and paragraph separators.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
#: How much of an overlong line an error repeats.
_SHOWN = 20


def clean_lines(text: str | bytes, notes: Notebook) -> Iterator[tuple[int, str]]:
    """Number and text of every line that can be read; what is wrong with the others goes to `notes`."""
    for number, raw in enumerate(_split(text, notes), 1):
        # Before composing, whose time grows faster than the length of a run of accents.
        if len(raw) > MAX_LINE:
            found = "" if first_outside(raw[:_SHOWN]) is not None else raw[:_SHOWN] + "..."
            hint = "break the comment into several" if is_comment(raw) else "shorten its names, or write two sentences"
            notes.wrong(number, MAX_LINE + 1, found, f"{len(raw)} characters; a line has at most {MAX_LINE}", hint)
            continue
        line = _SPACES.sub(" ", raw if raw.isascii() else unicodedata.normalize("NFC", raw))
        at = _first_refused(line)
        if at is None:
            yield number, line
        else:
            _refuse(number, line, at, notes)


def is_comment(line: str) -> bool:
    """Whether a line is there for its readers only."""
    return line.lstrip(" ").startswith("#")


def _split(text: str | bytes, notes: Notebook) -> list[str]:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        expected = f"the text has {size} bytes; a binding has at most {MAX_TEXT_BYTES}"
        notes.wrong(1, 1, "", expected, "shorten its comments, or say less")
        raise StopReadingError
    if isinstance(text, bytes):
        text = _decoded(text, notes)
    text = text.removeprefix("\ufeff").removesuffix("\n")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _decoded(text: bytes, notes: Notebook) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        found = f"byte 0x{text[error.start]:02X}"
        notes.wrong(line, column, found, "this is not UTF-8", "save the file as UTF-8")
        raise StopReadingError from error


def _first_refused(line: str) -> int | None:
    if line.isascii():
        control = _ASCII_CONTROL.search(line)
        return control.start() if control else None
    if not is_comment(line):
        return first_outside(line)
    return next((at for at, character in enumerate(line) if _is_invisible(character)), None)


def _refuse(number: int, line: str, at: int, notes: Notebook) -> None:
    code = f"U+{ord(line[at]):04X}"
    if line[at] == "\r":
        expected = "a carriage return inside a line; lines end with LF or CRLF"
        notes.wrong(number, at + 1, code, expected, "save the file with other line ends")
    elif _is_invisible(line[at]):
        notes.wrong(number, at + 1, code, "an invisible or control character", "delete it")
    elif unicodedata.combining(line[at]):
        notes.wrong(number, at + 1, code, "an accent that no letter takes here", "delete it")
    else:
        notes.wrong(
            number, at + 1, f"{line[at]} {code}", "a binding is written without this character", _remedy(line[at])
        )


def _remedy(character: str) -> str:
    category = unicodedata.category(character)
    if category.startswith("L"):
        return "write it with Latin, Greek or Cyrillic letters"
    if category == "Nd":
        return f"write {unicodedata.digit(character)}"
    return "write -" if character == "\u2212" else "leave it out"


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE
