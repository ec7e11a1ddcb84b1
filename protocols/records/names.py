"""Names: which characters a name on the ledger may have.

Names are compared as bytes inside `apply`, where no Unicode library may be asked:
two releases of Python know two releases of Unicode. So the letters are listed
here, all of them precomposed (a letter with its accent is one code point), and
combining marks, controls, direction marks and look-alike spaces are left out.
The table may grow, never shrink.
"""

from __future__ import annotations

ALLOWED: tuple[tuple[int, int], ...] = (
    (0x20, 0x7E),  # ASCII, printable
    (0xA1, 0xAC),  # Latin-1 signs; the no-break space and the soft hyphen are left out
    (0xAE, 0x17F),  # Latin-1 and Latin Extended-A
    (0x18F, 0x18F),  # schwa
    (0x1CD, 0x1DC),  # pinyin vowels
    (0x218, 0x21B),  # Romanian comma below
    (0x259, 0x259),
    (0x386, 0x386),  # Greek, without the ano teleia (which Unicode normalizes away) and code points not assigned
    (0x388, 0x38A),
    (0x38C, 0x38C),
    (0x38E, 0x3A1),
    (0x3A3, 0x3CE),
    (0x400, 0x45F),  # Cyrillic
    (0x490, 0x491),
    (0x5D0, 0x5EA),  # Hebrew letters
    (0x621, 0x63A),  # Arabic letters
    (0x641, 0x64A),
    (0x905, 0x939),  # Devanagari letters
    (0x10D0, 0x10F0),  # Georgian
    (0x1E00, 0x1EFF),  # Latin Extended Additional (Vietnamese and others)
    (0x2013, 0x2014),  # dashes
    (0x2018, 0x2019),  # typographic quotation marks
    (0x201C, 0x201D),
    (0x20AC, 0x20AC),  # euro sign
    (0x3041, 0x3096),  # Hiragana
    (0x30A1, 0x30FA),  # Katakana
    (0x4E00, 0x9FA5),  # CJK ideographs of Unicode 1.1
    (0xAC00, 0xD7A3),  # Hangul syllables
)


def fault(name: str) -> str | None:
    """Why `name` is not a name, as words for an error message; None if it is one."""
    if not name:
        return "the name is empty"
    if name[0] == " " or name[-1] == " " or "  " in name:
        return "a name has no spaces at its ends and no two in a row"
    for position, character in enumerate(name):
        code = ord(character)
        if not any(low <= code <= high for low, high in ALLOWED):
            return f"character {position + 1} (U+{code:04X}) is not allowed in names"
    return None
