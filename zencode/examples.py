"""Examples: the table of sentences with which a binding shows, at the end of its text, what it comes to.

    Example: a sunny quarter of an hour
    Given 'Anna' draws 2 kWh in period 1
    And 'Bela' delivers 3 kWh in period 1
    Then the bill of 'Anna' is 0.40 EUR

An example is no part of the binding: neither the tree nor the hash knows it. It is
read, kept and translated with the text; whoever has a state machine carries it out
and compares. Rows have the form of the catalogue's and ids of their own.
"""

from __future__ import annotations

from zencode.kinds import ENERGY, MONEY, NUMBER, PRICE, RECIPIENT, ROLE, TEXT
from zencode.languages import Phase
from zencode.sentences import Sentence, Slot

#: Each is settled whenever the text is checked; more are not read in an assembly either.
MAX_EXAMPLES = 20
#: A screen of figures.
MAX_EXAMPLE_LINES = 40
#: A day of quarter-hours: what differs over longer times shows in a simulation.
MAX_EXAMPLE_PERIOD = 96
#: A house's connection for a day. A meter that counts more in a period is held to be broken.
MAX_EXAMPLE_WH = 600_000

#: The title of the example in manuals and hints.
TITLES: dict[str, str] = {
    "en": "a sunny quarter of an hour",
    "it": "un quarto d'ora di sole",
    "es": "un cuarto de hora de sol",
    "de": "eine sonnige Viertelstunde",
}

KEYWORDS: dict[str, str] = {"en": "Example", "it": "Esempio", "es": "Ejemplo", "de": "Beispiel"}

IS_MEMBER, DRAWS, DELIVERS, BIDS, OFFERS = 1, 2, 3, 4, 5
BILL, RECEIVES, FUND_RECEIVES, FROM_NEIGHBOURS, FROM_GRID, ORDER_REFUSED, PERIOD_PRICE = 11, 12, 13, 14, 15, 16, 17

_MEMBER = Slot("member", TEXT)
_ENERGY = Slot("energy", ENERGY, 0, MAX_EXAMPLE_WH)
_ORDERED = Slot("energy", ENERGY, 1)
_PERIOD = Slot("period", NUMBER, 1, MAX_EXAMPLE_PERIOD)
_AMOUNT = Slot("amount", MONEY)


def _row(
    id: int, name: str, phase: Phase, slots: tuple[Slot, ...], example: tuple[object, ...], meaning: str, **words: str
) -> Sentence:
    return Sentence(id, name, phase, {code: (said,) for code, said in words.items()}, meaning, slots, example)


EXAMPLE_SENTENCES: tuple[Sentence, ...] = (
    _row(
        IS_MEMBER,
        "member of an example",
        Phase.GIVEN,
        (_MEMBER, Slot("role", ROLE)),
        ("Anna", "member"),
        "Somebody is a member with this role. Whoever an example names is a member, with the first role that can"
        " join if nothing else is said.",
        en="{member} is a member with the role {role}",
        it="{member} è un membro con il ruolo {role}",
        es="{member} es miembro con el rol {role}",
        de="{member} ist Mitglied mit der Rolle {role}",
    ),
    _row(
        DRAWS,
        "energy drawn",
        Phase.GIVEN,
        (_MEMBER, _ENERGY, _PERIOD),
        ("Anna", 2_000, 1),
        "The member's meter counts this energy from outside the home. Periods are numbered from midnight, UTC.",
        en="{member} draws {energy} in period {period}",
        it="{member} preleva {energy} nel periodo {period}",
        es="{member} toma {energy} en el periodo {period}",
        de="{member} bezieht {energy} in Periode {period}",
    ),
    _row(
        DELIVERS,
        "energy delivered",
        Phase.GIVEN,
        (_MEMBER, _ENERGY, _PERIOD),
        ("Bela", 3_000, 1),
        "The member's meter counts this energy to outside the home.",
        en="{member} delivers {energy} in period {period}",
        it="{member} immette {energy} nel periodo {period}",
        es="{member} entrega {energy} en el periodo {period}",
        de="{member} liefert {energy} in Periode {period}",
    ),
    _row(
        BIDS,
        "bid",
        Phase.GIVEN,
        (_MEMBER, _ORDERED, Slot("price", PRICE), _PERIOD),
        ("Anna", 1_500, 200_000, 1),
        "The member orders this energy at no more than this price, before the period begins.",
        en="{member} bids for {energy} at {price} in period {period}",
        it="{member} chiede {energy} a {price} nel periodo {period}",
        es="{member} pide {energy} a {price} en el periodo {period}",
        de="{member} bietet für {energy} zu {price} in Periode {period}",
    ),
    _row(
        OFFERS,
        "offer",
        Phase.GIVEN,
        (_MEMBER, _ORDERED, Slot("price", PRICE), _PERIOD),
        ("Bela", 2_000, 120_000, 1),
        "The member offers this energy at no less than this price, before the period begins.",
        en="{member} offers {energy} at {price} in period {period}",
        it="{member} offre {energy} a {price} nel periodo {period}",
        es="{member} ofrece {energy} a {price} en el periodo {period}",
        de="{member} verkauft {energy} zu {price} in Periode {period}",
    ),
    _row(
        BILL,
        "bill",
        Phase.THEN,
        (_MEMBER, _AMOUNT),
        ("Anna", 400_000),
        "What the member owes for all periods of the example, less what the member is owed. A figure in whole cents"
        " is compared with the amount rounded half up, any other exactly.",
        en="the bill of {member} is {amount}",
        it="la bolletta di {member} è {amount}",
        es="la factura de {member} es {amount}",
        de="die Rechnung von {member} beträgt {amount}",
    ),
    _row(
        RECEIVES,
        "earnings",
        Phase.THEN,
        (_MEMBER, _AMOUNT),
        ("Bela", 460_000),
        "What the member is owed for all periods of the example, less what the member owes; compared as a bill is.",
        en="{member} receives {amount}",
        it="{member} riceve {amount}",
        es="{member} recibe {amount}",
        de="{member} bekommt {amount}",
    ),
    _row(
        FUND_RECEIVES,
        "earnings of a fund",
        Phase.THEN,
        (Slot("fund", RECIPIENT), _AMOUNT),
        ("community fund", 16_000),
        "What a recipient of fees is owed; compared as a bill is.",
        en="the fund {fund} receives {amount}",
        it="il fondo {fund} riceve {amount}",
        es="el fondo {fund} recibe {amount}",
        de="der Fonds {fund} bekommt {amount}",
    ),
    _row(
        FROM_NEIGHBOURS,
        "energy from neighbours",
        Phase.THEN,
        (_MEMBER, _ENERGY),
        ("Anna", 2_000),
        "Energy that the member takes from other members, traded or shared, in all periods of the example.",
        en="{member} gets {energy} from neighbours",
        it="{member} ottiene {energy} dai vicini",
        es="{member} obtiene {energy} de sus vecinos",
        de="{member} erhält {energy} von Nachbarn",
    ),
    _row(
        FROM_GRID,
        "energy from the grid",
        Phase.THEN,
        (_MEMBER, _ENERGY),
        ("Anna", 0),
        "Energy that the member takes from the grid in all periods of the example.",
        en="{member} gets {energy} from the grid",
        it="{member} ottiene {energy} dalla rete",
        es="{member} obtiene {energy} de la red",
        de="{member} erhält {energy} aus dem Netz",
    ),
    _row(
        ORDER_REFUSED,
        "order refused",
        Phase.THEN,
        (_MEMBER, _PERIOD),
        ("Anna", 1),
        "The binding refuses an order of the member for this period.",
        en="the order of {member} for period {period} is refused",
        it="l'ordine di {member} per il periodo {period} è rifiutato",
        es="la orden de {member} para el periodo {period} se rechaza",
        de="der Auftrag von {member} für Periode {period} wird abgelehnt",
    ),
    _row(
        PERIOD_PRICE,
        "price of a period",
        Phase.THEN,
        (_PERIOD, Slot("price", PRICE)),
        (1, 160_000),
        "The one price at which the orders of this period are cleared.",
        en="the price of period {period} is {price}",
        it="il prezzo del periodo {period} è {price}",
        es="el precio del periodo {period} es {price}",
        de="der Preis der Periode {period} beträgt {price}",
    ),
)

EXAMPLES_BY_ID: dict[int, Sentence] = {row.id: row for row in EXAMPLE_SENTENCES}
