"""Languages: the spoken languages of bindings, with their keywords, unit words and known names.

The sentences themselves are in `sentences`; a language is one entry of
LANGUAGES, one column of KNOWN_WORDS and one column of the catalogue.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache

from msgspec import Struct


class Phase(IntEnum):
    """Where a sentence stands. The numbers are also the order of a file."""

    RULE = 1
    SCENARIO = 2
    GIVEN = 3
    WHEN = 4
    IF = 5
    THEN = 6
    AND = 7
    END_IF = 8


class Language(Struct, frozen=True):
    """One spoken language.

    `keywords` and `units` give spellings that are read; the first keyword is
    written, of a unit the first is written after the number 1, the second else.
    `share_to`, `list_and` are the words inside «80 % to 'a' and 20 % to 'b'».
    """

    code: str
    name: str
    decimal_mark: str
    keywords: dict[Phase, tuple[str, ...]]
    units: dict[str, tuple[str, ...]]
    share_to: str
    list_and: str


ENGLISH = Language(
    code="en",
    name="English",
    decimal_mark=".",
    keywords={
        Phase.RULE: ("Rule",),
        Phase.SCENARIO: ("Scenario",),
        Phase.GIVEN: ("Given",),
        Phase.WHEN: ("When",),
        Phase.IF: ("If",),
        Phase.THEN: ("Then",),
        Phase.AND: ("And",),
        Phase.END_IF: ("EndIf",),
    },
    units={
        "second": ("second", "seconds", "s"),
        "minute": ("minute", "minutes", "min"),
        "hour": ("hour", "hours", "h"),
        "day": ("day", "days"),
        "week": ("week", "weeks"),
        "month": ("month", "months"),
        "year": ("year", "years"),
    },
    share_to="to",
    list_and="and",
)

ITALIAN = Language(
    code="it",
    name="Italian",
    decimal_mark=",",
    keywords={
        Phase.RULE: ("Regola",),
        Phase.SCENARIO: ("Scenario",),
        Phase.GIVEN: ("Dato che", "Dato"),
        Phase.WHEN: ("Quando",),
        Phase.IF: ("Se",),
        Phase.THEN: ("Allora",),
        Phase.AND: ("E", "Ed"),
        Phase.END_IF: ("FineSe",),
    },
    units={
        "second": ("secondo", "secondi", "s"),
        "minute": ("minuto", "minuti", "min"),
        "hour": ("ora", "ore", "h"),
        "day": ("giorno", "giorni"),
        "week": ("settimana", "settimane"),
        "month": ("mese", "mesi"),
        "year": ("anno", "anni"),
    },
    share_to="a",
    list_and="e",
)

LANGUAGES: dict[str, Language] = {language.code: language for language in (ENGLISH, ITALIAN)}


class Word(Struct, frozen=True):
    """A quoted name whose meaning the product knows, so that it translates.

    `canonical` is what the tree holds and never changes; `words` has the
    spelling of each language. The spellings of all languages are read in a text
    of any language: otherwise a name could change its meaning in translation.
    """

    canonical: str
    words: dict[str, str]


def _word(en: str, it: str) -> Word:
    return Word(canonical=en, words={"en": en, "it": it})


#: What may be shown or hidden.
VIEWS = (
    _word("all trades", "tutti gli scambi"),
    _word("order owner names", "nomi di chi ordina"),
    _word("readings", "letture"),
    _word("own readings", "letture proprie"),
    _word("readings of other homes", "letture delle altre case"),
    _word("load curves", "curve di carico"),
    _word("own hourly curve", "curva oraria propria"),
    _word("curves of other homes", "curve delle altre case"),
    _word("period totals", "totali di periodo"),
    _word("monthly totals", "totali mensili"),
    _word("session totals", "totali di ricarica"),
    _word("own bill", "bolletta propria"),
    _word("car plate", "targa dell'auto"),
)

#: What a fee per kWh is charged on.
ENERGIES = (
    _word("traded energy", "energia scambiata"),
    _word("stored energy", "energia accumulata"),
    _word("solar energy", "energia solare"),
    _word("grid energy", "energia di rete"),
)

#: What may be split.
FEES = (
    _word("network fee", "commissione di rete"),
    _word("membership fee", "quota associativa"),
    _word("storage fee", "commissione di accumulo"),
    _word("charging fee", "commissione di ricarica"),
    _word("incentive", "incentivo"),
)

#: Audiences that need no «there is a role».
AUDIENCES = (
    _word("everyone", "tutti"),
    _word("other members", "altri membri"),
)

#: Recipients of a split that are known without a name of their own.
RECIPIENTS = (
    _word("community fund", "fondo della comunità"),
    _word("social fund", "fondo sociale"),
    _word("node operators", "gestori dei nodi"),
    _word("battery owner", "proprietario della batteria"),
    _word("consumers", "consumatori"),
    _word("producers", "produttori"),
)

KNOWN_WORDS: dict[str, tuple[Word, ...]] = {
    "view": VIEWS,
    "energy": ENERGIES,
    "fee": FEES,
    "audience": AUDIENCES,
    "recipient": RECIPIENTS,
}


@cache
def canonical_words(vocabulary: str) -> dict[str, str]:
    """Case-folded spelling in any language -> canonical word."""
    return {spelling.casefold(): word.canonical for word in KNOWN_WORDS[vocabulary] for spelling in word.words.values()}


@cache
def spoken_words(vocabulary: str, language: str) -> dict[str, str]:
    """Canonical word -> its spelling in `language`."""
    return {word.canonical: word.words[language] for word in KNOWN_WORDS[vocabulary]}
