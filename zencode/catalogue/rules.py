"""Rules: what a binding says about itself - its language, its versions, how it changes."""

from __future__ import annotations

from zencode.catalogue.ids import (
    CATALOGUE,
    CHANGES,
    LANGUAGE_RULE,
    MAY_PAUSE,
    MECHANISM,
    ROUNDING,
    TIME_ZONE,
    VERSION,
    ZONE_DATA,
)
from zencode.catalogue.row import BINDING_VERSION, CATALOGUE_VERSION, Sentence, Slot, row
from zencode.kinds import DAY_S, DURATION, LANGUAGE, NUMBER, ROLE, SHARE, TEXT, YEAR_S
from zencode.languages import Phase

RULES: tuple[Sentence, ...] = (
    row(
        LANGUAGE_RULE,
        "language",
        Phase.RULE,
        en="language {language}",
        it="lingua {language}",
        es="idioma {language}",
        de="Sprache {language}",
        slots=(Slot("language", LANGUAGE),),
        example=("en",),
        meaning="The spoken language of this text; the first sentence of every text. It is no part of the"
        " binding: one binding has one hash in all languages.",
    ),
    row(
        VERSION,
        "binding version",
        Phase.RULE,
        en="binding version {version}",
        it="patto versione {version}",
        es="acuerdo versión {version}",
        de="Vereinbarung Version {version}",
        slots=(Slot("version", NUMBER, BINDING_VERSION, BINDING_VERSION),),
        example=(BINDING_VERSION,),
        meaning="The version of this language that the binding is written in; every binding says it.",
    ),
    row(
        CHANGES,
        "changes",
        Phase.RULE,
        en="this binding changes only with {votes} of votes and {notice} notice",
        it=(
            "questo patto cambia solo con il {votes} dei voti e {notice} di preavviso",
            "questo patto cambia solo con {votes} dei voti e {notice} di preavviso",
        ),
        es=(
            "este acuerdo solo cambia con el {votes} de los votos y {notice} de preaviso",
            "este acuerdo solo cambia con {votes} de los votos y {notice} de preaviso",
        ),
        de="diese Vereinbarung ändert sich nur mit {votes} der Stimmen und die Ankündigungsfrist beträgt {notice}",
        slots=(Slot("votes", SHARE), Slot("notice", DURATION, 1, YEAR_S)),
        example=(600_000, 7 * DAY_S),
        meaning="A new binding is adopted when at least this share of the members votes for it, and is in"
        " force at the first settlement period that begins after the notice.",
    ),
    row(
        ROUNDING,
        "rounding",
        Phase.RULE,
        en="rounding is half up and the remainder goes to the largest share",
        it="l'arrotondamento è per eccesso a metà e il resto va alla quota maggiore",
        es="el redondeo es al alza desde la mitad y el resto va a la parte mayor",
        de="gerundet wird kaufmännisch und der Rest geht an den größten Anteil",
        meaning="Cents on a bill are rounded half up. The parts of a division always sum to the whole: what"
        " is left over goes to whoever is owed the largest fraction.",
    ),
    row(
        CATALOGUE,
        "catalogue version",
        Phase.RULE,
        en="catalogue version {version}",
        it="catalogo versione {version}",
        es="catálogo versión {version}",
        de="Katalog Version {version}",
        slots=(Slot("version", NUMBER, 1, CATALOGUE_VERSION),),
        example=(CATALOGUE_VERSION,),
        since=2,
        meaning="The catalogue that the binding was written with; a node that knows only an older one takes"
        " no part. No sentence of the binding may be newer than this.",
    ),
    row(
        TIME_ZONE,
        "time zone",
        Phase.RULE,
        en="times of day are those of {zone}",
        it="gli orari sono quelli di {zone}",
        es="las horas son las de {zone}",
        de="Uhrzeiten gelten nach {zone}",
        slots=(Slot("zone", TEXT),),
        example=("Europe/Rome",),
        since=2,
        meaning="The time zone, by its name in the IANA database, in which days begin and bands run.",
    ),
    row(
        ZONE_DATA,
        "time zone data",
        Phase.RULE,
        en="time zone data version {version}",
        it="dati dei fusi orari versione {version}",
        es="datos de husos horarios versión {version}",
        de="Zeitzonendaten Version {version}",
        slots=(Slot("version", TEXT),),
        example=("2026b",),
        since=2,
        meaning="The release of the IANA database that the table of the time zone is made from, the same on"
        " every node.",
    ),
    row(
        MECHANISM,
        "mechanism version",
        Phase.RULE,
        en="the mechanism {mechanism} is used in version {version}",
        it="il meccanismo {mechanism} si usa nella versione {version}",
        es="el mecanismo {mechanism} se usa en la versión {version}",
        de="der Mechanismus {mechanism} gilt in Version {version}",
        slots=(Slot("mechanism", TEXT), Slot("version", NUMBER)),
        example=("pay-as-clear", 1),
        once=("mechanism",),
        since=2,
        meaning="The version of a mechanism that this binding means; a node without it takes no part. Version"
        " 1 if unsaid.",
    ),
    row(
        MAY_PAUSE,
        "emergency pause",
        Phase.RULE,
        en="the role {role} may pause matching for at most {time}",
        it="il ruolo {role} può sospendere gli abbinamenti per al massimo {time}",
        es="el rol {role} puede suspender la casación durante un máximo de {time}",
        de="die Rolle {role} darf die Zusammenführung höchstens {time} lang anhalten",
        slots=(Slot("role", ROLE), Slot("time", DURATION, 60, 30 * DAY_S)),
        example=("operator", DAY_S),
        since=2,
        meaning="Who has this role can stop the matching of orders in an emergency; it goes on by itself"
        " after this time. Readings, sharing and bills are not stopped.",
    ),
)
