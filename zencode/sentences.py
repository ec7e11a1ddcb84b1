"""Sentences: the catalogue, one table of everything a binding can say.

A row has an id, a name, the phase it stands in, its typed slots, its words in
every language, example values and its meaning. Parser, writer, checks of the
tree, error suggestions and LANGUAGE.md all read this table and nothing else.

**Append-only**: an id, the order and kinds of its slots, and its meaning never
change, because trees in old ledgers use them. Words may be improved: the first
spelling of a language is written, all of them are read. Adding a spoken language
is one more key in every row's `words`.

Source of the form: the Given / When / Then sentences of Gherkin.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zencode.kinds import (
    CLOCK,
    CURRENCY,
    CYCLE,
    DAY_S,
    DURATION,
    ENERGY,
    ENERGY_SORT,
    FEE,
    LANGUAGE,
    MONEY,
    NUMBER,
    POWER,
    PRICE,
    ROLE,
    SHARE,
    SHARE_LIST,
    TEXT,
    VIEW,
    YEAR_S,
    Kind,
)  # fmt: skip
from zencode.languages import Phase

#: Grows whenever rows are added. Nodes declare in the ledger which they know, so that a binding is not put
#: to the vote before they can carry it out.
CATALOGUE_VERSION = 1
#: What «binding version» must say; it grows when the meaning of the form changes, not with new rows.
BINDING_VERSION = 1


class Slot(Struct, frozen=True):
    """A typed place in a sentence; `least` and `most` narrow the bounds of a kind of number."""

    name: str
    kind: Kind
    least: int | None = None
    most: int | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most that this slot takes; of a kind of number."""
        return (
            self.kind.least if self.least is None else self.least,
            self.kind.most if self.most is None else self.most,
        )

    def takes(self, value: Any) -> bool:
        """Whether a value of the kind lies in the bounds of this slot."""
        narrowed = self.least is not None or self.most is not None
        return not narrowed or self.bounds[0] <= value <= self.bounds[1]


class Sentence(Struct, frozen=True):
    """One row of the catalogue.

    `slots` are in the order of the tree; `words` name them in the order of each
    language. `once`: of a rule or given, the slots that tell two of them apart;
    () allows one in a binding. `under`: ids of the events whose blocks an If or
    Then makes sense in.
    """

    id: int
    name: str
    phase: Phase
    words: dict[str, tuple[str, ...]]
    meaning: str
    slots: tuple[Slot, ...] = ()
    example: tuple[Any, ...] = ()
    once: tuple[str, ...] = ()
    under: tuple[int, ...] = ()

    def index(self, slot: str) -> int:
        """Position in the tree of the slot called `slot`."""
        return next(i for i, candidate in enumerate(self.slots) if candidate.name == slot)


def _row(
    id: int,
    name: str,
    phase: Phase,
    *,
    en: str | tuple[str, ...],
    it: str | tuple[str, ...],
    meaning: str,
    slots: tuple[Slot, ...] = (),
    example: tuple[Any, ...] = (),
    once: tuple[str, ...] = (),
    under: tuple[int, ...] = (),
) -> Sentence:
    words = {code: (said,) if isinstance(said, str) else said for code, said in (("en", en), ("it", it))}
    return Sentence(id, name, phase, words, meaning, slots, example, once, under)


# Ids that the checks and the state machine's view ask for.
LANGUAGE_RULE, VERSION, CHANGES, ROUNDING = 1, 2, 3, 4
(CURRENCY_IS, PERIOD, GRACE, CORRECTIONS, BILLING, GRID_PRICE, FEED_IN, ROLE_IS) = range(100, 108)
(SUBSTATION, PLANT, BATTERY, ALLOCATION, BAND, INCENTIVE, COLLECTING) = range(108, 115)
(JOIN, LEAVE, ORDER, PERIOD_CLOSES, BILL_DUE, METER_SILENT, CAR_CHARGES) = range(300, 307)
BATTERY_DELIVERS, BATTERY_STORES = 307, 308
SHOWS, BEHIND, IN_BAND = 400, 401, 402
ACCEPT, REFUSE, ASK, DEPOSIT = 500, 501, 502, 503
PAY_AS_CLEAR, ORDER_BOOK, FALLING, FLOOR, CAP, MAX_ORDER, DEBT_LIMIT = range(510, 517)
MID_MARKET, FIXED_SHARES, BY_USE, REOFFER = range(520, 524)
FEE_PER_KWH, FEE_PER_CYCLE, SPLIT = 530, 531, 532
ESTIMATE, WARN, PAY_BACK = 540, 541, 542
NET, COLLECT, LET, HIDE, PROOF = range(550, 555)
KEEP_OPEN, SERVE_FIRST, LIMIT_CHARGING = 560, 570, 571

_BATTERY_EVENTS = (BATTERY_DELIVERS, BATTERY_STORES)
_ENERGY_EVENTS = (PERIOD_CLOSES, CAR_CHARGES, *_BATTERY_EVENTS)
_VIEW_EVENTS = (BILL_DUE, PERIOD_CLOSES, ORDER)

SENTENCES: tuple[Sentence, ...] = (
    # --- Rules: about the binding itself ---------------------------------------------------------
    _row(
        LANGUAGE_RULE,
        "language",
        Phase.RULE,
        en="language {language}",
        it="lingua {language}",
        slots=(Slot("language", LANGUAGE),),
        example=("en",),
        meaning="The spoken language of this text; the first sentence of every text. It is no part of the"
        " binding: one binding has one hash in all languages.",
    ),
    _row(
        VERSION,
        "binding version",
        Phase.RULE,
        en="binding version {version}",
        it="patto versione {version}",
        slots=(Slot("version", NUMBER, BINDING_VERSION, BINDING_VERSION),),
        example=(BINDING_VERSION,),
        meaning="The version of this language that the binding is written in; every binding says it.",
    ),
    _row(
        CHANGES,
        "changes",
        Phase.RULE,
        en="this binding changes only with {votes} of votes and {notice} notice",
        it=(
            "questo patto cambia solo con il {votes} dei voti e {notice} di preavviso",
            "questo patto cambia solo con {votes} dei voti e {notice} di preavviso",
        ),
        slots=(Slot("votes", SHARE), Slot("notice", DURATION, 1, YEAR_S)),
        example=(600_000, 7 * DAY_S),
        meaning="A new binding is adopted when at least this share of the members votes for it, and is in"
        " force at the first settlement period that begins after the notice.",
    ),
    _row(
        ROUNDING,
        "rounding",
        Phase.RULE,
        en="rounding is half up and the remainder goes to the largest share",
        it="l'arrotondamento è per eccesso a metà e il resto va alla quota maggiore",
        meaning="Cents on a bill are rounded half up. The parts of a division always sum to the whole: what"
        " is left over goes to whoever is owed the largest fraction.",
    ),
    # --- Givens: facts and figures ---------------------------------------------------------------
    _row(
        CURRENCY_IS,
        "currency",
        Phase.GIVEN,
        en="the currency is {currency}",
        it="la valuta è {currency}",
        slots=(Slot("currency", CURRENCY),),
        example=("EUR",),
        meaning="The currency of every price and amount in the binding.",
    ),
    _row(
        PERIOD,
        "settlement period",
        Phase.GIVEN,
        en="the settlement period is {period}",
        it="il periodo di regolazione è {period}",
        slots=(Slot("period", DURATION, 60, DAY_S),),
        example=(900,),
        meaning="Energy is measured, shared and paid in periods of this length; a day holds a whole number.",
    ),
    _row(
        GRACE,
        "settlement grace",
        Phase.GIVEN,
        en="a period settles {grace} after its end",
        it="un periodo si regola {grace} dopo la sua fine",
        slots=(Slot("grace", DURATION, 1, DAY_S),),
        example=(120,),
        meaning="How long a period waits for readings that are still on their way; it settles earlier when"
        " every meter has reported.",
    ),
    _row(
        CORRECTIONS,
        "correction deadline",
        Phase.GIVEN,
        en="corrections are accepted for {deadline}",
        it="le correzioni si accettano per {deadline}",
        slots=(Slot("deadline", DURATION, 1, YEAR_S),),
        example=(2 * DAY_S,),
        meaning="A reading that comes late or replaces another corrects its period until this long after"
        " the period's end; after that it is refused.",
    ),
    _row(
        BILLING,
        "billing period",
        Phase.GIVEN,
        en="bills are issued every {cycle}",
        it="le bollette sono emesse ogni {cycle}",
        slots=(Slot("cycle", CYCLE),),
        example=((1, 0),),
        meaning="How often every member gets a bill.",
    ),
    _row(
        GRID_PRICE,
        "grid price",
        Phase.GIVEN,
        en="grid energy costs {price}",
        it="l'energia di rete costa {price}",
        slots=(Slot("price", PRICE),),
        example=(320_000,),
        meaning="What a member pays for a kWh that comes from the grid.",
    ),
    _row(
        FEED_IN,
        "feed-in price",
        Phase.GIVEN,
        en="grid feed-in pays {price}",
        it="l'energia immessa in rete rende {price}",
        slots=(Slot("price", PRICE),),
        example=(80_000,),
        meaning="What a member receives for a kWh that goes to the grid.",
    ),
    _row(
        ROLE_IS,
        "role",
        Phase.GIVEN,
        en="there is a role {role}",
        it="c'è un ruolo {role}",
        slots=(Slot("role", ROLE),),
        example=("auditor",),
        once=("role",),
        meaning="A role that somebody can have without asking to join as it.",
    ),
    _row(
        SUBSTATION,
        "substation",
        Phase.GIVEN,
        en="the community is behind the primary substation {substation}",
        it="la comunità sta sotto la cabina primaria {substation}",
        slots=(Slot("substation", TEXT),),
        example=("AC001E01125",),
        meaning="The primary substation whose area the community lies in.",
    ),
    _row(
        PLANT,
        "plant",
        Phase.GIVEN,
        en="the plant {plant} has {power} and belongs to {owner}",
        it="l'impianto {plant} ha {power} e appartiene a {owner}",
        slots=(Slot("plant", TEXT), Slot("power", POWER), Slot("owner", TEXT)),
        example=("School Roof", 120_000, "Town Hall"),
        once=("plant",),
        meaning="A generating plant, its peak power and its owner.",
    ),
    _row(
        BATTERY,
        "battery",
        Phase.GIVEN,
        en="the battery {battery} stores {capacity} at {power} and belongs to {owner}",
        it="la batteria {battery} accumula {capacity} a {power} e appartiene a {owner}",
        slots=(Slot("battery", TEXT), Slot("capacity", ENERGY), Slot("power", POWER), Slot("owner", TEXT)),
        example=("Bay Battery", 400_000, 100_000, "Bay Coop"),
        once=("battery",),
        meaning="A shared battery, its usable capacity, its power and its owner.",
    ),
    _row(
        ALLOCATION,
        "allocation share",
        Phase.GIVEN,
        en="{member} has an allocation share of {share}",
        it="{member} ha una quota di ripartizione del {share}",
        slots=(Slot("member", TEXT), Slot("share", SHARE)),
        example=("flat 1A", 225_000),
        once=("member",),
        meaning="The fixed share of the common production that goes to this member.",
    ),
    _row(
        BAND,
        "time band",
        Phase.GIVEN,
        en="the band {band} runs from {from} to {to}",
        it=("la fascia {band} va dalle {from} alle {to}",),
        slots=(Slot("band", TEXT), Slot("from", CLOCK), Slot("to", CLOCK)),
        example=("evening", 17 * 3_600, 21 * 3_600),
        once=("band",),
        meaning="A part of every day, in local time; one that ends before it begins runs over midnight.",
    ),
    _row(
        INCENTIVE,
        "incentive",
        Phase.GIVEN,
        en="every shared kWh receives {price} of incentive",
        it="ogni kWh condiviso riceve {price} di incentivo",
        slots=(Slot("price", PRICE),),
        example=(110_000,),
        meaning="What the authority pays the community for every kWh shared in a settlement period.",
    ),
    _row(
        COLLECTING,
        "collecting company",
        Phase.GIVEN,
        en="the collecting company is {company}",
        it="la società incaricata è {company}",
        slots=(Slot("company", TEXT),),
        example=("Village Cooperative",),
        meaning="The company that collects bills on the community's behalf.",
    ),
    # --- Whens: events ---------------------------------------------------------------------------
    _row(
        JOIN,
        "somebody asks to join",
        Phase.WHEN,
        en="somebody asks to join as {role}",
        it="qualcuno chiede di entrare come {role}",
        slots=(Slot("role", ROLE),),
        example=("member",),
        meaning="A request to become a member with this role.",
    ),
    _row(
        LEAVE,
        "a member leaves",
        Phase.WHEN,
        en="a member leaves",
        it="un membro esce",
        meaning="A member ends the membership.",
    ),
    _row(
        ORDER,
        "a member places an order",
        Phase.WHEN,
        en="a member places an order",
        it=("un membro inserisce un ordine", "un membro fa un ordine"),
        meaning="A bid or an offer for a settlement period arrives.",
    ),
    _row(
        PERIOD_CLOSES,
        "a settlement period closes",
        Phase.WHEN,
        en="a settlement period closes",
        it="si chiude un periodo di regolazione",
        meaning="A settlement period is settled: every meter has reported or the grace has passed.",
    ),
    _row(
        BILL_DUE,
        "a bill is due",
        Phase.WHEN,
        en="a bill is due",
        it="è il momento della bolletta",
        meaning="A billing period ends.",
    ),
    _row(
        METER_SILENT,
        "a meter is silent",
        Phase.WHEN,
        en="a meter is silent for {time}",
        it="un contatore tace per {time}",
        slots=(Slot("time", DURATION),),
        example=(1_800,),
        meaning="No reading of a meter has arrived for this long.",
    ),
    _row(
        CAR_CHARGES,
        "a car charges",
        Phase.WHEN,
        en="a car charges at {point}",
        it="un'auto si ricarica a {point}",
        slots=(Slot("point", TEXT),),
        example=("bay 1",),
        meaning="A car draws energy at a charging point.",
    ),
    _row(
        BATTERY_DELIVERS,
        "a battery delivers",
        Phase.WHEN,
        en="the battery {battery} delivers energy",
        it="la batteria {battery} eroga energia",
        slots=(Slot("battery", TEXT),),
        example=("Bay Battery",),
        meaning="A shared battery delivers energy to members.",
    ),
    _row(
        BATTERY_STORES,
        "a battery stores",
        Phase.WHEN,
        en="the battery {battery} stores energy",
        it="la batteria {battery} accumula energia",
        slots=(Slot("battery", TEXT),),
        example=("Bay Battery",),
        meaning="A shared battery takes in energy of members.",
    ),
    # --- Ifs: conditions -------------------------------------------------------------------------
    _row(
        SHOWS,
        "shows a credential",
        Phase.IF,
        en="the member shows the credential {credential}",
        it="il membro mostra la credenziale {credential}",
        slots=(Slot("credential", TEXT),),
        example=("verified meter",),
        under=(JOIN,),
        meaning="The request carries this credential, signed by an administrator.",
    ),
    _row(
        BEHIND,
        "behind a substation",
        Phase.IF,
        en="the meter is behind the substation {substation}",
        it="il contatore è sotto la cabina {substation}",
        slots=(Slot("substation", TEXT),),
        example=("AC001E01125",),
        under=(JOIN,),
        meaning="The metering point lies in the area of this primary substation.",
    ),
    _row(
        IN_BAND,
        "in a time band",
        Phase.IF,
        en="the time is in band {band}",
        it="l'ora è nella fascia {band}",
        slots=(Slot("band", TEXT),),
        example=("evening",),
        under=(ORDER, *_ENERGY_EVENTS),
        meaning="The settlement period begins inside this time band.",
    ),
    # --- Thens: actions --------------------------------------------------------------------------
    _row(
        ACCEPT,
        "accept the member",
        Phase.THEN,
        en="accept the member",
        it="accetta il membro",
        under=(JOIN,),
        meaning="The person who asks becomes a member with the role asked for.",
    ),
    _row(
        REFUSE,
        "refuse the member",
        Phase.THEN,
        en="refuse the member",
        it="rifiuta il membro",
        under=(JOIN,),
        meaning="The request is refused; later blocks are not looked at.",
    ),
    _row(
        ASK,
        "ask the members",
        Phase.THEN,
        en="ask {share} of members to agree within {time}",
        it="chiedi al {share} dei membri di dare il consenso entro {time}",
        slots=(Slot("share", SHARE), Slot("time", DURATION)),
        example=(1_000_000, 15 * DAY_S),
        under=(JOIN,),
        meaning="The request is put to the members and accepted when this share agrees in time.",
    ),
    _row(
        DEPOSIT,
        "hold a deposit",
        Phase.THEN,
        en="hold a deposit of {amount}",
        it="trattieni un deposito di {amount}",
        slots=(Slot("amount", MONEY),),
        example=(50_000_000,),
        under=(JOIN,),
        meaning="This amount of the new member's money is held until the member leaves.",
    ),
    _row(
        PAY_AS_CLEAR,
        "double auction",
        Phase.THEN,
        en="match orders in a double auction at one price",
        it="abbina gli ordini in un'asta doppia a prezzo unico",
        under=(ORDER,),
        meaning="All bids and offers for a settlement period are matched at its end, highest bid with lowest"
        " offer; everybody pays and receives one clearing price.",
    ),
    _row(
        ORDER_BOOK,
        "order book",
        Phase.THEN,
        en="match orders in a continuous order book",
        it="abbina gli ordini in un libro ordini continuo",
        under=(ORDER,),
        meaning="An order trades at once with the best order on the other side, at that order's price.",
    ),
    _row(
        FALLING,
        "falling auction",
        Phase.THEN,
        en="buy the need in a falling auction of {time}",
        it="compra il fabbisogno in un'asta al ribasso di {time}",
        slots=(Slot("time", DURATION),),
        example=(900,),
        under=(ORDER, *_ENERGY_EVENTS),
        meaning="Sellers underbid one another for this long; the lowest offers win at their own price.",
    ),
    _row(
        FLOOR,
        "price floor",
        Phase.THEN,
        en="refuse prices below {price}",
        it="rifiuta i prezzi sotto {price}",
        slots=(Slot("price", PRICE),),
        example=(50_000,),
        under=(ORDER,),
        meaning="An order with a lower price is refused.",
    ),
    _row(
        CAP,
        "price cap",
        Phase.THEN,
        en="refuse prices above {price}",
        it="rifiuta i prezzi sopra {price}",
        slots=(Slot("price", PRICE),),
        example=(320_000,),
        under=(ORDER,),
        meaning="An order with a higher price is refused.",
    ),
    _row(
        MAX_ORDER,
        "largest order",
        Phase.THEN,
        en="refuse orders larger than {energy}",
        it="rifiuta gli ordini oltre {energy}",
        slots=(Slot("energy", ENERGY, 1),),
        example=(20_000,),
        under=(ORDER,),
        meaning="An order for more energy is refused.",
    ),
    _row(
        DEBT_LIMIT,
        "debt limit",
        Phase.THEN,
        en="stop buying at a debt of {amount}",
        it="ferma gli acquisti a un debito di {amount}",
        slots=(Slot("amount", MONEY),),
        example=(40_000_000,),
        under=(ORDER, CAR_CHARGES),
        meaning="A member who owes this much cannot buy until the debt is lower.",
    ),
    _row(
        MID_MARKET,
        "mid-market rate",
        Phase.THEN,
        en="share production at the mid-market rate",
        it="ripartisci la produzione al prezzo medio di mercato",
        under=(PERIOD_CLOSES,),
        meaning="Energy that members have left over goes to members who need it, in proportion, at the middle"
        " between grid price and feed-in price; what remains is bought from or fed into the grid.",
    ),
    _row(
        FIXED_SHARES,
        "fixed allocation",
        Phase.THEN,
        en="share production by fixed allocation shares",
        it="ripartisci la produzione per quote fisse",
        under=(PERIOD_CLOSES,),
        meaning="Every member gets the allocation share of the production, at most what the member used.",
    ),
    _row(
        BY_USE,
        "allocation by use",
        Phase.THEN,
        en="share production in proportion to use",
        it="ripartisci la produzione in proporzione ai consumi",
        under=(PERIOD_CLOSES,),
        meaning="Production is shared in proportion to what every member used in the period.",
    ),
    _row(
        REOFFER,
        "offer unused shares again",
        Phase.THEN,
        en="offer unused shares again in proportion to use",
        it="offri di nuovo le quote inutilizzate in proporzione ai consumi",
        under=(PERIOD_CLOSES,),
        meaning="What a member's share exceeds the member's use is shared among the others by their use.",
    ),
    _row(
        FEE_PER_KWH,
        "fee per kWh",
        Phase.THEN,
        en="charge a fee of {price} on {energy}",
        it="addebita una commissione di {price} su {energy}",
        slots=(Slot("price", PRICE), Slot("energy", ENERGY_SORT)),
        example=(5_000, "traded energy"),
        under=_ENERGY_EVENTS,
        meaning="The buyer of such energy pays this on top. 'traded energy' is every kWh that one member"
        " delivers to another, by an order or by sharing.",
    ),
    _row(
        FEE_PER_CYCLE,
        "fee per cycle",
        Phase.THEN,
        en="charge {amount} every {cycle}",
        it="addebita {amount} ogni {cycle}",
        slots=(Slot("amount", MONEY), Slot("cycle", CYCLE)),
        example=(2_500_000, (1, 0)),
        under=(BILL_DUE,),
        meaning="Every member pays this membership fee.",
    ),
    _row(
        SPLIT,
        "split",
        Phase.THEN,
        en=("split the {fee} {shares}", "split {fee} {shares}"),
        it="dividi {fee} {shares}",
        slots=(Slot("fee", FEE), Slot("shares", SHARE_LIST)),
        example=("network fee", ((800_000, "community fund"), (200_000, "node operators"))),
        under=(BILL_DUE, *_ENERGY_EVENTS),
        meaning="What the fee brings in is divided by these shares, which add up to 100 %.",
    ),
    _row(
        ESTIMATE,
        "estimate",
        Phase.THEN,
        en=(
            "estimate the missing reading from the last {days} similar days",
            "estimate the missing reading from the last {days} equal days",
        ),
        it="stima la lettura mancante dagli ultimi {days} giorni simili",
        slots=(Slot("days", NUMBER, 1, 28),),
        example=(4,),
        under=(METER_SILENT,),
        meaning="The missing reading is replaced by the same time of day on this many earlier days of the"
        " same sort, marked as estimated, and corrected when the true one arrives.",
    ),
    _row(
        WARN,
        "warn",
        Phase.THEN,
        en="warn {role}",
        it="avvisa {role}",
        slots=(Slot("role", ROLE),),
        example=("operator",),
        under=(METER_SILENT, LEAVE, CAR_CHARGES, *_BATTERY_EVENTS),
        meaning="Whoever has this role sees a warning on the page of the own node.",
    ),
    _row(
        PAY_BACK,
        "pay back",
        Phase.THEN,
        en="pay back {amount} for each missed hour",
        it="rimborsa {amount} per ogni ora persa",
        slots=(Slot("amount", MONEY),),
        example=(1_500_000,),
        under=(METER_SILENT,),
        meaning="The member concerned is paid this for every full hour of missing service.",
    ),
    _row(
        NET,
        "net debts",
        Phase.THEN,
        en="net all debts before payment",
        it="compensa i debiti prima del pagamento",
        under=(BILL_DUE,),
        meaning="A member's debts and claims of the billing period are set off; one amount remains to pay.",
    ),
    _row(
        COLLECT,
        "collect",
        Phase.THEN,
        en="collect through {company} within {time}",
        it="incassa tramite {company} entro {time}",
        slots=(Slot("company", TEXT), Slot("time", DURATION)),
        example=("Village Cooperative", 30 * DAY_S),
        under=(BILL_DUE,),
        meaning="This company collects the bill, due this long after its issue.",
    ),
    _row(
        LET,
        "let see",
        Phase.THEN,
        en="let {role} see {view}",
        it="permetti a {role} di vedere {view}",
        slots=(Slot("role", ROLE), Slot("view", VIEW)),
        example=("auditor", "all trades"),
        under=_VIEW_EVENTS,
        meaning="Nodes show this to whoever has the role.",
    ),
    _row(
        HIDE,
        "hide",
        Phase.THEN,
        en="hide {view} from {role}",
        it="nascondi {view} a {role}",
        slots=(Slot("view", VIEW), Slot("role", ROLE)),
        example=("order owner names", "everyone"),
        under=_VIEW_EVENTS,
        meaning="Nodes do not show this to whoever has the role.",
    ),
    _row(
        PROOF,
        "accept a proof",
        Phase.THEN,
        en="accept a proof in place of {view}",
        it="accetta una prova al posto di {view}",
        slots=(Slot("view", VIEW),),
        example=("readings",),
        under=_VIEW_EVENTS,
        meaning="A member may keep this sealed and prove the sums that a bill needs.",
    ),
    _row(
        KEEP_OPEN,
        "keep the contract open",
        Phase.THEN,
        en="keep the contract open for {time}",
        it="mantieni il contratto per {time}",
        slots=(Slot("time", CYCLE),),
        example=((1, 0),),
        under=(LEAVE,),
        meaning="The account of a member who left still takes corrections and the last bill for this long.",
    ),
    _row(
        SERVE_FIRST,
        "serve first",
        Phase.THEN,
        en="serve {role} first",
        it="servi {role} per primi",
        slots=(Slot("role", ROLE),),
        example=("fleet",),
        under=_ENERGY_EVENTS,
        meaning="Members with this role get energy before the others.",
    ),
    _row(
        LIMIT_CHARGING,
        "limit charging",
        Phase.THEN,
        en="limit charging to {power}",
        it="limita la ricarica a {power}",
        slots=(Slot("power", POWER),),
        example=(11_000,),
        under=(CAR_CHARGES,),
        meaning="The charging point draws at most this power.",
    ),
)

BY_ID: dict[int, Sentence] = {sentence.id: sentence for sentence in SENTENCES}
