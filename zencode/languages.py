"""Languages: the spoken languages of bindings, with their keywords and unit words.

The sentences themselves are in `sentences`, known names in `words`; a language is one
entry of LANGUAGES, one column of KNOWN_WORDS and one column of the catalogue.
"""

from __future__ import annotations

from enum import IntEnum

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

SPANISH = Language(
    code="es",
    name="Spanish",
    decimal_mark=",",
    keywords={
        Phase.RULE: ("Regla",),
        Phase.SCENARIO: ("Escenario",),
        Phase.GIVEN: ("Dado que", "Dado"),
        Phase.WHEN: ("Cuando",),
        Phase.IF: ("Si",),
        Phase.THEN: ("Entonces",),
        Phase.AND: ("Y",),
        Phase.END_IF: ("FinSi",),
    },
    units={
        "second": ("segundo", "segundos", "s"),
        "minute": ("minuto", "minutos", "min"),
        "hour": ("hora", "horas", "h"),
        "day": ("día", "días", "dia", "dias"),
        "week": ("semana", "semanas"),
        "month": ("mes", "meses"),
        "year": ("año", "años"),
    },
    share_to="a",
    list_and="y",
)

#: Its sentences take durations in the nominative or accusative, which are written; datives are read.
GERMAN = Language(
    code="de",
    name="German",
    decimal_mark=",",
    keywords={
        Phase.RULE: ("Regel",),
        Phase.SCENARIO: ("Szenario",),
        Phase.GIVEN: ("Angenommen", "Gegeben sei"),
        Phase.WHEN: ("Wenn",),
        Phase.IF: ("Falls",),
        Phase.THEN: ("Dann",),
        Phase.AND: ("Und",),
        Phase.END_IF: ("EndeFalls",),
    },
    units={
        "second": ("Sekunde", "Sekunden", "s"),
        "minute": ("Minute", "Minuten", "min"),
        "hour": ("Stunde", "Stunden", "h"),
        "day": ("Tag", "Tage", "Tagen"),
        "week": ("Woche", "Wochen"),
        "month": ("Monat", "Monate", "Monaten"),
        "year": ("Jahr", "Jahre", "Jahren"),
    },
    share_to="an",
    list_and="und",
)

LANGUAGES: dict[str, Language] = {language.code: language for language in (ENGLISH, ITALIAN, SPANISH, GERMAN)}
