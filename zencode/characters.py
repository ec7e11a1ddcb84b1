"""Characters: the code points that names and titles may use.

The table is committed rather than asked of the Unicode database, because that
database differs from one Python to the next and a name is part of a binding's
hash. Every character of the table stands alone in NFC and none combines with a
neighbour, so a text of them is in NFC by itself. Append-only.

No normalisation here: the reader does that before it asks this table.
"""

from __future__ import annotations

#: First and last code point of each range, in order.
RANGES: tuple[tuple[int, int], ...] = (
    (0x0020, 0x007E),  # ASCII
    (0x00A1, 0x00AC),  # Latin-1 signs; U+00A0 is read as a space
    (0x00AE, 0x024F),  # Latin letters; U+00AD, the soft hyphen, is invisible
    (0x0386, 0x0386),  # Greek; its question mark, middle dot and number signs are other characters in NFC
    (0x0388, 0x038A),
    (0x038C, 0x038C),
    (0x038E, 0x03A1),
    (0x03A3, 0x03E1),
    (0x0400, 0x045F),  # Cyrillic, without its combining numerals
    (0x048A, 0x052F),
    (0x1E00, 0x1EFF),  # Latin letters with further accents (Vietnamese, Welsh)
    (0x2010, 0x2015),  # dashes
    (0x2018, 0x201A),  # typographic quotation marks; U+2019 is a letter here
    (0x201C, 0x201E),
    (0x2026, 0x2026),  # ellipsis
    (0x20AC, 0x20AC),  # the euro sign
)

_ALLOWED = frozenset(chr(code) for first, last in RANGES for code in range(first, last + 1))


def first_outside(text: str) -> int | None:
    """Index of the first character that the table does not have, or None."""
    return next((at for at, character in enumerate(text) if character not in _ALLOWED), None)


def is_label(text: str, most: int) -> bool:
    """Whether `text` may stand in the tree as a name or title of at most `most` characters.

    It has at least one character, only characters of the table, no space at
    either end and no two spaces in a row: one spelling, one hash.
    """
    tidy = text == text.strip(" ") and "  " not in text
    return tidy and 0 < len(text) <= most and first_outside(text) is None
