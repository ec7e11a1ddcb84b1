"""Grammar: a line cut into tokens, and the catalogue's sentences as one tree of tokens per language.

Matching walks that tree one token at a time and never goes back, so a line costs
its length. The tree is made from the table when a language is first used, and
refuses a table in which two sentences could be mistaken for one another.

What to say about a line that does not match is here too: the nearest sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from msgspec import Struct

from zencode.examples import EXAMPLE_SENTENCES
from zencode.kinds import CALENDAR, COUNT, LANGUAGE, NAME, QUANTITY, SHARES, TIME
from zencode.languages import LANGUAGES, Language, Phase
from zencode.packages import catalogue
from zencode.sentences import Sentence, Slot
from zencode.values import WrongValueError, read_quantity, write_value

#: What a token is: its group in _TOKEN.
WORD, NUMBER, PUNCTUATION, OTHER_QUOTES, UNCLOSED = "word", "number", "punctuation", "other", "unclosed"
CLOCK_TIME, DATE = "time", "date"

_TOKEN = re.compile(
    r"""
    (?P<name>'(?:[^']|'')*+'(?!\w))
  | (?P<time>[0-9]{1,2}:[0-9]{2}(?![0-9:]))
  | (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9-]))
  | (?P<number>-?[0-9]++(?:[.,][0-9]++)*+)
  | (?P<punctuation>[,:%])
  | (?P<other>"[^"]*+"|“[^”]*+”|«[^»]*+»|‘[^’]*+’)
  | (?P<word>[^\s',:%"“«‘]++(?:'[^\s',:%"“«‘]++)*+)
  | (?P<unclosed>['"“«‘])
    """,
    re.VERBOSE,
)
#: The tables that a line may be matched with: the catalogue with what packages add, and what examples say.
BINDING, EXAMPLE = "binding", "example"

_SLOT = re.compile(r"\{(\w+)\}")
_END = "\0end"
#: Edges for slots; \0 is refused in texts, so no word collides with them.
_EDGES = {form: f"\0{form}" for form in (NAME, COUNT, QUANTITY, TIME, CALENDAR, SHARES)}
_NUMERIC = (_EDGES[COUNT], _EDGES[QUANTITY], _EDGES[SHARES])
#: A sentence is suggested when it has this part of its letter triples in common with the line.
_LEAST_LIKENESS_PERMILLE = 400
#: Keeps a sentence of the phase at hand ahead of one worded almost alike elsewhere.
_SAME_PHASE_PERMILLE = 50

Node = dict[str, Any]


class CatalogueError(ValueError):
    """A fault in the table of sentences itself."""


class Token(Struct, frozen=True):
    """A piece of a line; `column` counts characters from 1. A name's text is without its quotes."""

    sort: str
    text: str
    column: int
    spelled: str


class Piece(Struct, frozen=True):
    """What a line has in a slot: the tokens, and whether they are of the sort that the slot takes.

    `form` is the form of slot; `fits` is False where the author's intention is
    clear and the spelling wrong (a name without quotes, a number in quotes).
    """

    form: str
    tokens: tuple[Token, ...]
    fits: bool = True


class Match(Struct, frozen=True):
    """A sentence and what the line has in its slots, in the order of the catalogue."""

    sentence: Sentence
    pieces: tuple[Piece, ...]


class Suggestion(Struct, frozen=True):
    """A sentence that the author may have meant: its row, and written out in full."""

    phase: Phase
    text: str
    sentence: Sentence


def tokens_of(line: str) -> list[Token]:
    """Cut a line into tokens; never fails: a quotation mark that nothing closes is `unclosed`."""
    found = []
    for match in _TOKEN.finditer(line):
        sort, spelled = match.lastgroup or UNCLOSED, match.group()
        text = spelled
        if sort == NAME:
            text = " ".join(spelled[1:-1].replace("''", "'").split())
        elif sort == WORD:
            text = folded(spelled)
        found.append(Token(sort, text, match.start() + 1, spelled))
    return found


def folded(word: str) -> str:
    """A word as it is compared: without case, typographic apostrophes as plain ones."""
    return word.casefold().replace("’", "'")


def match(tokens: list[Token], phase: Phase, language: Language, table: str = BINDING) -> Match | None:
    """The sentence of `phase` that `tokens` spell, or None."""
    node = trees(language.code, table)[phase]
    pieces: list[Piece] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        step = node.get(token.text) if token.sort in (WORD, PUNCTUATION) else None
        if step is not None:
            node, at = step, at + 1
            continue
        found = _slot(tokens, at, node)
        if found is None:
            return None
        piece, node = found
        pieces.append(piece)
        at += len(piece.tokens)
    end = node.get(_END)
    if end is None:
        return None
    sentence, order = end
    return Match(sentence, tuple(pieces[position] for position in order))


def spelled(tokens: Sequence[Token]) -> str:
    """Tokens of one line as the author wrote them, with single spaces."""
    parts: list[str] = []
    end = 0
    for token in tokens:
        if parts and token.column > end:
            parts.append(" ")
        parts.append(token.spelled)
        end = token.column + len(token.spelled)
    return "".join(parts)


def sentences_of(table: str) -> tuple[Sentence, ...]:
    """The sentences of a table, as they are now: packages add to those of bindings."""
    return catalogue() if table == BINDING else EXAMPLE_SENTENCES


@cache
def trees(code: str, table: str = BINDING) -> dict[Phase, Node]:
    """The token trees of a language, by phase."""
    return build(sentences_of(table), LANGUAGES[code])


@cache
def keywords(code: str) -> dict[str, list[tuple[list[str], Phase]]]:
    """The keywords of a language by their first word: all their words, and the phase they name."""
    found: dict[str, list[tuple[list[str], Phase]]] = {}
    for phase, spellings in LANGUAGES[code].keywords.items():
        for spelling in spellings:
            words = folded(spelling).split()
            found.setdefault(words[0], []).append((words, phase))
    return found


def forget() -> None:
    """The catalogue has changed: what was made from it is made anew."""
    trees.cache_clear()
    _likeness_index.cache_clear()


def keyword_of(tokens: list[Token], language: Language) -> tuple[Phase | None, int]:
    """The phase that the first tokens name in `language`, and how many tokens that takes."""
    best: tuple[Phase | None, int] = (None, 0)
    for words, phase in keywords(language.code).get(tokens[0].text, ()):
        if len(words) > best[1] and [token.text for token in tokens[: len(words)]] == words:
            best = (phase, len(words))
    return best


def build(sentences: tuple[Sentence, ...], language: Language) -> dict[Phase, Node]:
    """Make the token trees of `sentences` in one language.

    Raises:
        CatalogueError: two sentences that could be mistaken for one another.
    """
    roots: dict[Phase, Node] = {phase: {} for phase in Phase}
    for sentence in sentences:
        for pattern in sentence.words[language.code]:
            _plant(roots[sentence.phase], sentence, pattern)
    for phase, root in roots.items():
        _refuse_forks(root, phase)
    return roots


def nearest(tokens: list[Token], phase: Phase | None, language: Language, table: str = BINDING) -> Suggestion | None:
    """The sentence most like a line, preferring those of `phase`; None when nothing is like it.

    Its slots are filled with the line's own names and numbers where those fit
    in kind and number, else with the catalogue's example.
    """
    triples = _triples(" ".join(token.text for token in tokens if token.sort == WORD))
    sentences = sentences_of(table)
    index, sizes = _likeness_index(language.code, table)
    shared: Counter[int] = Counter()
    for triple in triples:
        shared.update(index.get(triple, ()))
    best, score = None, _LEAST_LIKENESS_PERMILLE
    for row, count in sorted(shared.items()):
        likeness = 2_000 * count // (len(triples) + sizes[row])
        likeness += _SAME_PHASE_PERMILLE if sentences[row].phase == phase else 0
        if likeness > score:
            best, score = sentences[row], likeness
    return None if best is None else Suggestion(best.phase, _filled(best, tokens, language), best)


def spell(sentence: Sentence, values: list[str], language: Language) -> str:
    """The first wording of a sentence with `values`, already written, in its slots."""
    return _SLOT.sub(lambda slot: values[sentence.index(slot[1])], sentence.words[language.code][0])


def examples(sentence: Sentence, language: Language) -> list[str]:
    """The example values of a sentence, written; a language names itself."""
    return [
        write_value(slot.kind, language.code if slot.kind is LANGUAGE else value, language, "EUR")
        for slot, value in zip(sentence.slots, sentence.example, strict=True)
    ]


def _slot(tokens: list[Token], at: int, node: Node) -> tuple[Piece, Node] | None:
    """Take a slot's tokens, starting at `at`, along the one edge that they allow."""
    token = tokens[at]
    if _EDGES[NAME] in node and token.sort in (NAME, OTHER_QUOTES, WORD):
        return Piece(NAME, (token,), token.sort == NAME), node[_EDGES[NAME]]
    if _EDGES[TIME] in node and token.sort in (CLOCK_TIME, NUMBER, NAME):
        return Piece(TIME, (token,), token.sort == CLOCK_TIME), node[_EDGES[TIME]]
    if _EDGES[CALENDAR] in node and token.sort in (DATE, CLOCK_TIME, NUMBER, NAME):
        return Piece(CALENDAR, (token,), token.sort == DATE), node[_EDGES[CALENDAR]]
    edge = next((edge for edge in _NUMERIC if edge in node), None)
    if edge is None or token.sort not in (NUMBER, NAME, CLOCK_TIME, DATE):
        return None
    fits, after = token.sort == NUMBER, node[edge]
    if edge == _EDGES[COUNT]:
        return Piece(COUNT, (token,), fits), after
    if edge == _EDGES[SHARES]:
        return Piece(SHARES, tuple(tokens[at:]), fits), after
    has_unit = at + 1 < len(tokens) and _can_be_unit(tokens[at + 1], after)
    return Piece(QUANTITY, tuple(tokens[at : at + 1 + has_unit]), fits), after


def _can_be_unit(token: Token, after: Node) -> bool:
    if token.sort == PUNCTUATION:
        return token.text == "%"
    # A word that the sentence goes on with is no unit: the author forgot the unit.
    return token.sort == WORD and token.text not in after


def _plant(root: Node, sentence: Sentence, pattern: str) -> None:
    node, order = root, []
    for part in pattern.split():
        slot = _SLOT.fullmatch(part)
        key = folded(part)
        if slot:
            index = sentence.index(slot[1])
            order.append(index)
            key = _EDGES[sentence.slots[index].kind.form]
        node = node.setdefault(key, {})
    if sorted(order) != list(range(len(sentence.slots))):
        raise CatalogueError(f"statement {sentence.id}: «{pattern}» does not name every slot once")
    if _END in node:
        raise CatalogueError(f"statements {node[_END][0].id} and {sentence.id} read alike: «{pattern}»")
    # Positions in the line, in the order of the catalogue.
    node[_END] = (sentence, tuple(order.index(index) for index in range(len(order))))


def _refuse_forks(node: Node, phase: Phase) -> None:
    numeric = [edge for edge in (*_NUMERIC, _EDGES[TIME], _EDGES[CALENDAR]) if edge in node]
    if len(numeric) > 1 or (_EDGES[SHARES] in node and node[_EDGES[SHARES]].keys() != {_END}):
        raise CatalogueError(f"a number could begin two sorts of value in {phase.name}: {sorted(node)}")
    for key, after in node.items():
        if key != _END:
            _refuse_forks(after, phase)


def _filled(sentence: Sentence, tokens: list[Token], language: Language) -> str:
    values = examples(sentence, language)
    own = [token for token in tokens if token.sort in (NAME, NUMBER, CLOCK_TIME, DATE)]
    wanted = [sentence.slots[sentence.index(slot)] for slot in _SLOT.findall(sentence.words[language.code][0])]
    sorts = {NAME: NAME, TIME: CLOCK_TIME, CALENDAR: DATE, COUNT: NUMBER, QUANTITY: NUMBER}
    if [token.sort for token in own] == [sorts.get(slot.kind.form) for slot in wanted]:
        for slot, token in zip(wanted, own, strict=True):
            said = _own_words(token, tokens, slot, language)
            if said is not None:
                values[sentence.index(slot.name)] = said
    return spell(sentence, values, language)


def _own_words(token: Token, tokens: list[Token], slot: Slot, language: Language) -> str | None:
    """The line's own value for a slot; None if it would be wrong there, as a suggestion never is."""
    if slot.kind.form != QUANTITY:
        return token.spelled
    at = tokens.index(token)
    unit = tokens[at + 1].spelled if at + 1 < len(tokens) else ""
    try:
        value, _ = read_quantity(slot.kind, token.text, unit, language)
    except WrongValueError:
        return None
    return f"{token.spelled} {unit}" if slot.takes(value) else None


@cache
def _likeness_index(code: str, table: str) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    index: dict[str, list[int]] = {}
    sizes = []
    for row, sentence in enumerate(sentences_of(table)):
        words = folded(" ".join(part for part in sentence.words[code][0].split() if not _SLOT.fullmatch(part)))
        triples = _triples(words)
        sizes.append(len(triples))
        for triple in triples:
            index.setdefault(triple, []).append(row)
    return {triple: tuple(rows) for triple, rows in index.items()}, tuple(sizes)


def _triples(words: str) -> set[str]:
    padded = f" {words} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
