"""Fuzz: damaged texts without end, each read or refused - and nothing else may ever come out of the reader.

    python -m tests.zencode.fuzz [--inputs 1000000] [--seed 7]

Texts begin as presets, good and bad examples and hostile ones, and lose, gain and swap
bytes, characters, words and lines. A seed gives the same texts on every computer. Of a
text that is read, the canonical spelling, the encoding, the page for the assembly and the
difference to another are made too; of some, an editor asks in the middle of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from tests.zencode.hostile import HOSTILE
from zencode.binding import binding_hash, decode, encode
from zencode.commands import MISTAKE, check
from zencode.completion import complete
from zencode.difference import compare, difference_text
from zencode.document import Document
from zencode.explanation import explain, page_text
from zencode.hover import hover
from zencode.languages import LANGUAGES
from zencode.mistakes import BindingErrors
from zencode.presets import NAMES, preset
from zencode.reader import read, read_document
from zencode.writer import WriteError, fmt, translate

NIGHTLY_INPUTS = 1_000_000
#: Hostile texts of this size are damaged: large ones cost time, and their size is tried elsewhere.
HOSTILE_BYTES = 600
#: Texts of the test folders are cut to so many lines, so that a million texts take minutes.
LINES = 12
#: An editor asks about one text in so many.
EDITED = 8
PROGRESS_EVERY = 50_000

Text = str | bytes
Damage = Callable[[Random, list[str]], None]

_FOLDER = Path(__file__).parent
_PECULIAR = "'’\"«»#:,.%\\{}\0\t\r\n\u00a0\u200b\u202e\ufeff\U0001f31eée\u0301İıßſΩ٣漢0123456789-+"


def inputs(seed: int, count: int) -> Iterator[Text]:
    """So many damaged texts."""
    random = Random(seed)
    whole = [preset(name, code).split("\n") for name in NAMES for code in LANGUAGES]
    small = [path.read_bytes().decode(errors="replace").split("\n") for path in sorted(_FOLDER.glob("*/*.zen"))]
    small = [lines[:LINES] for lines in small] + [made(HOSTILE_BYTES).split("\n") for made in HOSTILE.values()]
    words = sorted({word for lines in whole for line in lines for word in line.split()})
    for _ in range(count):
        lines = _cut(random, random.choice(whole)) if random.random() < 0.7 else list(random.choice(small))
        for _ in range(random.choice((0, 1, 1, 2, 5))):
            random.choice(_DAMAGES)(random, lines)
        if random.random() < 0.2:
            lines.insert(random.randrange(len(lines) + 1), " ".join(random.choices(words, k=random.randrange(1, 9))))
        text = "\n".join(lines)
        yield _as_bytes(random, text) if random.random() < 0.2 else text


def try_out(text: Text, random: Random) -> bool:
    """Read or refuse a text, and do with it what anybody could; whether it is a binding.

    Raises:
        AssertionError, or whatever should never be raised.
    """
    try:
        document = read_document(text)
    except BindingErrors as wrong:
        assert wrong.mistakes, "refused without a reason"
        assert all(mistake.line >= 1 and mistake.column >= 1 and mistake.message for mistake in wrong.mistakes)
        found = check(text)
        assert {finding.level for finding in found} == {MISTAKE}
        _edit(text, random)
        return False
    _use(document, random)
    assert all(finding.level != MISTAKE for finding in check(text))
    _edit(text, random)
    return True


def _use(document: Document, random: Random) -> None:
    digest = binding_hash(document.binding)
    assert decode(encode(document.binding)) == document.binding
    code = random.choice(list(LANGUAGES))
    try:
        spelled, other = fmt(document), translate(document, code)
    except WriteError:
        return  # a line or text that only fits in its author's spelling
    again = read_document(spelled)
    assert binding_hash(again.binding) == digest and fmt(again) == spelled
    assert binding_hash(read(other)) == digest
    assert page_text(explain(document, code))
    village = read(preset(NAMES[0]))
    assert difference_text(compare(village, document.binding, code))


def _edit(text: Text, random: Random) -> None:
    if isinstance(text, bytes) or random.randrange(EDITED):
        return
    line = random.randrange(1, text.count("\n") + 3)
    column = random.randrange(1, 80)
    complete(text, line, column)
    hover(text, line, column)


# --- Damages ---------------------------------------------------------------------------------------------------


def _cut(random: Random, lines: list[str]) -> list[str]:
    """A preset's head, to the currency, and some of its paragraphs."""
    if random.random() < 0.1:
        return list(lines)
    paragraphs = [part.split("\n") for part in "\n".join(lines).rstrip("\n").split("\n\n")]
    head = [line for paragraph in paragraphs[:2] for line in paragraph if not line.startswith("#")]
    picked = random.sample(paragraphs[3:], k=random.randrange(1, 4))
    return [*head, paragraphs[2][0], *(line for paragraph in picked for line in paragraph)]


def _as_bytes(random: Random, text: str) -> bytes:
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(random.randrange(3)):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    prefix = random.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"))
    return prefix + bytes(data)


def _line(random: Random, lines: list[str]) -> int:
    if not lines:
        lines.append("")
    return random.randrange(len(lines))


def _drop_line(random: Random, lines: list[str]) -> None:
    del lines[_line(random, lines)]


def _repeat_line(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    lines[at:at] = [lines[at]] * random.choice((1, 1, 2, 30))


def _swap_lines(random: Random, lines: list[str]) -> None:
    one, other = _line(random, lines), _line(random, lines)
    lines[one], lines[other] = lines[other], lines[one]


def _join_lines(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    lines[at : at + 2] = [" ".join(lines[at : at + 2])]


def _drop_characters(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    column = random.randrange(len(lines[at]) + 1)
    lines[at] = lines[at][:column] + lines[at][column + random.randrange(1, 6) :]


def _put_character(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    column = random.randrange(len(lines[at]) + 1)
    character = random.choice(_PECULIAR) if random.random() < 0.8 else chr(random.randrange(0xD800))
    lines[at] = lines[at][:column] + character * random.choice((1, 1, 1, 2, 250)) + lines[at][column:]


def _swap_words(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    words = lines[at].split(" ")
    one, other = random.randrange(len(words)), random.randrange(len(words))
    words[one], words[other] = words[other], words[one]
    lines[at] = " ".join(words)


def _change_case(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    lines[at] = random.choice((str.upper, str.lower, str.swapcase, str.title))(lines[at])


def _change_number(random: Random, lines: list[str]) -> None:
    at = _line(random, lines)
    number = random.choice(("0", "-1", "1.000,5", "9" * 30, "1e9", "٣", "0.0001", "24:00", "99:99", "2026-02-30"))
    lines[at] = " ".join(number if word[:1].isdigit() else word for word in lines[at].split(" "))


_DAMAGES: Sequence[Damage] = (
    _drop_line,
    _repeat_line,
    _swap_lines,
    _join_lines,
    _drop_characters,
    _put_character,
    _swap_words,
    _change_case,
    _change_number,
)


def run(seed: int, count: int, told: Callable[[str], None]) -> int:
    """Try so many texts out; how many were bindings. A text that breaks anything is told, and the error raised."""
    random = Random(seed + 1)
    bindings = 0
    for number, text in enumerate(inputs(seed, count), 1):
        try:
            bindings += try_out(text, random)
        except BaseException:
            told(f"seed {seed}, text {number}: {text!r}")
            raise
        if number % PROGRESS_EVERY == 0:
            told(f"seed {seed}: {number} texts, {bindings} of them bindings")
    return bindings


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, and print how far it came."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=NIGHTLY_INPUTS)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    found = run(chosen.seed, chosen.inputs, lambda said: print(said, flush=True))
    print(f"{chosen.inputs} texts were read or refused, {found} of them bindings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
