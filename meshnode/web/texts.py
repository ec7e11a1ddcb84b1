"""Texts: every word of the pages, in one table with a column per language.

Also here: how a language writes numbers. Digits are grouped by a narrow space, which no
reader takes for a decimal point.
"""

from __future__ import annotations

from typing import Final

from meshnode import amounts
from meshnode.ledger.findings import SENTENCES
from meshnode.views import DayRow
from protocols.evidence import EvidenceKind

LANGUAGES: Final = {"en": "English", "it": "Italiano"}
DEFAULT: Final = "en"
# An Accept-Language header of a real browser names a dozen.
MAX_PREFERENCES: Final = 20

_THIN = "\u202f"
_HARD = "\u00a0"
_MINUS = "\u2212"

# key: (English, Italian)
TEXTS: Final[dict[str, tuple[str, str]]] = {
    "home_of": ("{name}’s home", "La casa di {name}"),
    "visitor": ("A node without a home", "Un nodo senza casa"),
    "demonstration": (
        "Demonstration clock: time runs {speed} times faster here. Homes and meters may be simulated.",
        "Orologio dimostrativo: il tempo scorre {speed} volte più veloce. Case e contatori possono essere simulati.",
    ),
    "live": ("Live", "In diretta"),
    "connecting": ("Connecting …", "Connessione …"),
    "offline": ("No connection to the node", "Nessuna connessione al nodo"),
    "halted": ("This node has stopped taking part: {why}", "Questo nodo ha smesso di partecipare: {why}"),
    "notice": ("This node takes part only in part: {why}", "Questo nodo partecipa solo in parte: {why}"),
    "warned": ("Please look: {what}.", "Da controllare: {what}."),
    "found_out": ("Found out: the node of {name} {what}.", "Scoperto: il nodo di {name} {what}."),
    "found_out_asked": (
        "The node of {name} is asked why it {what}.",
        "Al nodo di {name} si chiede perché {what}.",
    ),
    "found_out_answered": (
        "The node of {name} {what}, and has shown that an election made it do so.",
        "Il nodo di {name} {what}, e ha mostrato che un’elezione lo ha richiesto.",
    ),
    "lie_headers": (SENTENCES[EvidenceKind.HEADERS], "ha fatto due blocchi diversi per un posto nel mandato {term}"),
    "lie_acks": (
        SENTENCES[EvidenceKind.ACKS],
        "ha confermato due storie diverse nel mandato {term}, al blocco {height}",
    ),
    "lie_votes": (SENTENCES[EvidenceKind.VOTES], "ha votato per due candidati nel mandato {term}"),
    "lie_form": (
        SENTENCES[EvidenceKind.FORM],
        "ha fatto un blocco contro le regole, il blocco {height} nel mandato {term}",
    ),
    "lie_tip": (
        SENTENCES[EvidenceKind.TIP],
        "ha votato nel mandato {term} dichiarando il falso su ciò che possiede",
    ),
    "lie_extension": (
        SENTENCES[EvidenceKind.EXTENSION],
        "è stato eletto nel mandato {term} con una storia ed è partito da un’altra",
    ),
    "lie_older_tip": (
        SENTENCES[EvidenceKind.OLDER_TIP],
        "ha confermato il blocco {height} e votato nel mandato {term} come se non l’avesse mai avuto",
    ),
    "now": ("Power now", "Potenza adesso"),
    "this_home": ("This home", "Questa casa"),
    "community": ("Community", "Comunità"),
    "draws": ("drawn", "prelevati"),
    "gives": ("given", "immessi"),
    "silent": ("not heard yet", "non ancora ricevuta"),
    "roof_now": ("roof {produced}, in use {used}", "tetto {produced}, in uso {used}"),
    "homes_now": ("Homes draw {taken} and give {given}", "Le case prelevano {taken} e immettono {given}"),
    "covered": ("{share} % of what homes draw comes from neighbours.", "Il {share} % del prelievo viene dai vicini."),
    "heard": ("{heard} of {meters} meters heard.", "{heard} contatori su {meters} ricevuti."),
    "heard_1": ("{heard} of {meters} meter heard.", "{heard} contatore su {meters} ricevuto."),
    "chart_power": ("The last {hours} hours", "Le ultime {hours} ore"),
    "chart_power_1": ("The last hour", "L’ultima ora"),
    "chart_wait": ("The line begins when power is heard.", "La linea comincia quando arriva la potenza."),
    "today": ("Today", "Oggi"),
    "used": ("used", "consumati"),
    "own": ("Own roof", "Tetto proprio"),
    "neighbours": ("Neighbours", "Vicini"),
    "grid": ("Grid", "Rete"),
    "given_away": ("Given to neighbours {sold}, to the grid {fed_in}", "Ceduti ai vicini {sold}, alla rete {fed_in}"),
    "today_money": ("Received {received}, paid {paid}", "Ricevuti {received}, pagati {paid}"),
    "estimated": (
        "{count} of {periods} periods rest on an estimate until the reading comes.",
        "{count} periodi su {periods} sono stimati finché non arriva la lettura.",
    ),
    "estimated_1": (
        "1 period (of {periods}) rests on an estimate until the reading comes.",
        "1 periodo (su {periods}) è stimato finché non arriva la lettura.",
    ),
    "nothing_yet": ("No period has been settled yet today.", "Oggi non è ancora stato regolato nessun periodo."),
    "period": ("This period", "Questo periodo"),
    "period_left": ("left", "rimanenti"),
    "last_settled": (
        "Last settled: {span}, {complete} % of the readings",
        "Ultimo regolato: {span}, {complete} % delle letture",
    ),
    "prices": ("Prices per kWh", "Prezzi al kWh"),
    "price_grid": ("From the grid", "Dalla rete"),
    "price_neighbours": ("Between neighbours", "Tra vicini"),
    "price_last": ("Last trades", "Ultimi scambi"),
    "price_feed_in": ("To the grid", "Alla rete"),
    "price_fee": (
        "Whoever takes from neighbours also pays a fee of {fee}.",
        "Chi prende dai vicini paga anche {fee} di commissione.",
    ),
    "balance": ("Balance", "Saldo"),
    "owed": ("The community owes this home", "La comunità deve a questa casa"),
    "owes": ("This home owes the community", "Questa casa deve alla comunità"),
    "even": ("Nothing is owed either way", "Nessuno deve nulla"),
    "energy": ("Where this home’s energy came from", "Da dove è venuta l’energia di questa casa"),
    "energy_wait": (
        "The first bar appears when the first period is settled.",
        "La prima barra compare al primo periodo regolato.",
    ),
    "as_table": ("As a table", "Come tabella"),
    "trades": ("Last trades", "Ultimi scambi"),
    "no_trades": ("No trades yet.", "Ancora nessuno scambio."),
    "orders": ("Orders of this home", "Ordini di questa casa"),
    "no_orders": ("No orders yet.", "Ancora nessun ordine."),
    "no_market": (
        "The binding takes no orders: surplus is shared.",
        "Il patto non prevede ordini: l’eccedenza è condivisa.",
    ),
    "buy": ("buys", "compra"),
    "sell": ("sells", "vende"),
    "open": ("open", "aperto"),
    "cancelled": ("cancelled", "annullato"),
    "filled": ("filled", "eseguito"),
    "partly": ("{filled} of it", "{filled} eseguiti"),
    "unfilled": ("unfilled", "non eseguito"),
    "somebody": ("a neighbour", "un vicino"),
    "delivered": ("{delivered} delivered", "{delivered} consegnati"),
    "from_to": ("From, to", "Da, a"),
    "when": ("Period", "Periodo"),
    "state": ("State", "Stato"),
    "total": ("Used", "Consumo"),
    "blocks": ("Last blocks", "Ultimi blocchi"),
    "height": ("Height", "Altezza"),
    "time": ("Time", "Ora"),
    "records": ("Records", "Registrazioni"),
    "leader": ("Leader", "Guida"),
    "no_blocks": ("No block yet.", "Ancora nessun blocco."),
    "node": ("This node", "Questo nodo"),
    "role": ("Role", "Ruolo"),
    "role_leader": ("leads the consensus", "guida il consenso"),
    "role_follower": ("votes", "vota"),
    "role_candidate": ("stands for election", "candidato a guidare"),
    "role_pre_candidate": ("looks for a leader", "cerca una guida"),
    "role_learner": ("follows, without a vote", "segue, senza voto"),
    "advice_gone": (
        "{name} has not been seen for {hours} h and validates. Proposed, one after the other:",
        "{name} è un validatore e non si vede da {hours} h. Proposta, un passo dopo l’altro:",
    ),
    "advice_even": (
        "One validator more tolerates one failure more. Proposed:",
        "Un validatore in più tollera un guasto in più. Proposta:",
    ),
    "advice_back": (
        "If byzantine mode was left for a replacement, nothing is in its way any more. Proposed:",
        "Se i quorum bizantini erano sospesi per una sostituzione, ora possono tornare. Proposta:",
    ),
    "advice_who": ("An administrator can do this.", "Può farlo un amministratore."),
    "nobody": ("nobody yet", "ancora nessuno"),
    "peers": ("Peers", "Nodi vicini"),
    "peers_of": ("{peers} connected, {validators} validators", "connessi: {peers}, {validators} validatori"),
    "peers_of_1": ("{peers} connected, {validators} validator", "connessi: {peers}, {validators} validatore"),
    "clock": ("Clock", "Orologio"),
    "clock_real": ("real time", "tempo reale"),
    "clock_fast": ("demonstration, {speed} times faster", "dimostrativo, {speed} volte più veloce"),
    "meters": ("Meters", "Contatori"),
    "no_meters": ("none read here", "nessuno letto qui"),
    "reading": ("reading, {telegrams} telegrams", "in lettura, {telegrams} telegrammi"),
    "reading_1": ("reading, {telegrams} telegram", "in lettura, {telegrams} telegramma"),
    "meter_silent": ("silent", "muto"),
    "meter_failed": ("failed", "guasto"),
    "memory": ("Memory", "Memoria"),
    "waiting": ("Records waiting", "Registrazioni in attesa"),
    "commit": ("From order to final", "Dall’ordine al definitivo"),
    "screen": ("From meter to screen", "Dal contatore allo schermo"),
    "median": ("{p50} ms, 95 in 100 within {p95} ms", "{p50} ms, 95 su 100 entro {p95} ms"),
    "chain": ("Ledger", "Registro"),
    "state_hash": ("State", "Stato"),
    "every_node": (
        "Every home runs a node like this one. What you see was computed here, from records that members signed.",
        "In ogni casa gira un nodo come questo. Ciò che vedi è calcolato qui, da registrazioni firmate dai membri.",
    ),
    "other_language": ("Language", "Lingua"),
}


class Words:
    """The texts and numbers of one language."""

    def __init__(self, language: str) -> None:
        """Args: language: a key of `LANGUAGES`."""
        self.language = language
        self._column = list(LANGUAGES).index(language)

    def __call__(self, key: str, **values: object) -> str:
        """The text with values filled in."""
        text = TEXTS[key][self._column]
        return text.format(**values) if values else text

    def counted(self, number: int, key: str, **values: object) -> str:
        """The same of a number of things: with the text `KEY_1` when it is one."""
        return self(f"{key}_1" if number == 1 else key, **values)

    def decimal(self, text: str) -> str:
        """A decimal number (`-0.15 EUR`) as this language writes it."""
        text = text.replace("-", _MINUS)
        return text.replace(".", ",") if self.language == "it" else text

    def energy(self, energy_wh: int) -> str:
        """Energy in kWh to the last Wh: `7.412 kWh`."""
        return f"{self.kwh(energy_wh)}{_HARD}kWh"

    def kwh(self, energy_wh: int) -> str:
        """The same without the unit."""
        whole, rest = divmod(abs(energy_wh), amounts.WH_PER_KWH)
        return self.decimal(f"{'-' if energy_wh < 0 else ''}{whole}.{rest:03d}")

    def money(self, amount_u: int, currency: str) -> str:
        """An amount to the last micro-unit: `1.28439 EUR`."""
        return self.decimal(amounts.format_money(amount_u, currency))

    def number(self, value: int) -> str:
        """A whole number, grouped: `12 400`."""
        return f"{value:,}".replace(",", _THIN).replace("-", _MINUS)

    def power(self, power_w: int) -> str:
        """Power in whole W: `1 240 W`."""
        return f"{self.number(power_w)}{_HARD}W"


def language_of(asked: str | None, accepted: str) -> str:
    """The language of a page.

    Args:
        asked: of the query, if any.
        accepted: the Accept-Language header.
    Source: RFC 9110, section 12.5.4.
    """
    if asked in LANGUAGES:
        return asked
    wishes = []
    for place, part in enumerate(accepted.split(",")[:MAX_PREFERENCES]):
        tag, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=") or "1"
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and weight.replace(".", "", 1).isdigit() and weight.isascii():
            wishes.append((-float(weight), place, language))
    return min(wishes)[2] if wishes else DEFAULT


def shares(day: DayRow) -> tuple[tuple[str, int], ...]:
    """The sources of consumption with their energies, in the order in which they are always shown."""
    return ("own", day.own_wh), ("neighbours", day.neighbours_wh), ("grid", day.grid_wh)
