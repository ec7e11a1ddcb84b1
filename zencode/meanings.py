"""Meanings: what every sentence, kind of value and lint means, in each language of the catalogue.

English is the catalogue's own; the other languages are in `manual/CODE.txt`, one a line: the number of
a sentence, «example» with that of a sentence of examples, or «kind» or «lint» with its name, a tab, and the text.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from zencode.examples import EXAMPLE_SENTENCES
from zencode.kinds import KINDS, Kind
from zencode.languages import ENGLISH
from zencode.lint import RULES
from zencode.packages import FIRST_ID
from zencode.sentences import SENTENCES, Sentence


def meaning(sentence: Sentence, language: str) -> str:
    """What a sentence means, in the language with this code; what a package adds says it in one language for all.

    Raises:
        KeyError: the language has no such text.
    """
    return sentence.meaning if sentence.id >= FIRST_ID else texts(language)[str(sentence.id)]


def example_meaning(sentence: Sentence, language: str) -> str:
    """The same for a sentence of examples."""
    return texts(language)[f"example {sentence.id}"]


def kind_words(kind: Kind, language: str) -> tuple[str, str]:
    """The name of a kind of value, and what it is."""
    name, _, what = texts(language)[f"kind {kind.name}"].partition(" | ")
    return name, what


@cache
def texts(language: str) -> dict[str, str]:
    """Every text of a language by its key."""
    if language == ENGLISH.code:
        found = {str(sentence.id): sentence.meaning for sentence in SENTENCES}
        found |= {f"example {sentence.id}": sentence.meaning for sentence in EXAMPLE_SENTENCES}
        found |= {f"kind {kind.name}": f"{kind.name} | {kind.meaning}" for kind in KINDS}
        return found | {f"lint {rule.__name__}": (rule.__doc__ or "").strip() for rule in RULES}
    lines = files("zencode").joinpath("manual", f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines)
