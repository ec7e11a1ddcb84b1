"""Tokens: actions that bring units of an asset into being, destroy them, pay and store with them."""

from __future__ import annotations

from zencode.catalogue.ids import (
    BATTERY_EVENTS,
    BURN,
    INJECTED,
    MAX_STORED,
    MINT,
    PAY_WITH,
    PERIOD_CLOSES,
    REDEEMED,
    ROUTE,
)
from zencode.catalogue.row import Sentence, Slot, row
from zencode.kinds import ENERGY, ENERGY_SOURCE, TEXT
from zencode.languages import Phase

TOKENS: tuple[Sentence, ...] = (
    row(
        MINT,
        "mint",
        Phase.THEN,
        en="mint one unit of {asset} for each {energy}",
        it="crea una unità di {asset} per ogni {energy}",
        es="crea una unidad de {asset} por cada {energy}",
        de="erzeuge eine Einheit von {asset} je {energy}",
        slots=(Slot("asset", TEXT), Slot("energy", ENERGY, 1, 10_000_000)),
        example=("SUN", 1_000),
        under=(INJECTED,),
        since=2,
        meaning="The member gets a unit for so much measured energy; what is less is carried to the next period.",
    ),
    row(
        BURN,
        "burn",
        Phase.THEN,
        en="burn one unit of {asset} for each {energy} delivered",
        it="distruggi una unità di {asset} per ogni {energy} di energia erogata",
        es="destruye una unidad de {asset} por cada {energy} de energía entregada",
        de="vernichte eine Einheit von {asset} je {energy} gelieferter Energie",
        slots=(Slot("asset", TEXT), Slot("energy", ENERGY, 1, 10_000_000)),
        example=("SUN", 1_000),
        under=(REDEEMED,),
        since=2,
        meaning="A unit releases so much energy and is destroyed when it was delivered; units whose energy"
        " was not come back.",
    ),
    row(
        ROUTE,
        "source of redeemed energy",
        Phase.THEN,
        en="deliver the energy from {source}",
        it="eroga l'energia da {source}",
        es="entrega la energía desde {source}",
        de="liefere die Energie aus {source}",
        slots=(Slot("source", ENERGY_SOURCE),),
        example=("common battery",),
        under=(REDEEMED,),
        since=2,
        meaning="Where the energy for redeemed units comes from.",
    ),
    row(
        PAY_WITH,
        "pay with an asset",
        Phase.THEN,
        en="pay debts with the asset {asset}",
        it="paga i debiti con il gettone {asset}",
        es="paga las deudas con el token {asset}",
        de="bezahle Schulden mit dem Token {asset}",
        slots=(Slot("asset", TEXT),),
        example=("PALM",),
        under=(PERIOD_CLOSES,),
        since=2,
        meaning="What members owe one another is paid with this asset when the period closes, as far as each"
        " has it; the rest stays a debt.",
    ),
    row(
        MAX_STORED,
        "maximum balance",
        Phase.THEN,
        en="let nobody store more than {energy}",
        it="nessuno accumuli più di {energy}",
        es="que nadie almacene más de {energy}",
        de="lass niemanden mehr als {energy} speichern",
        slots=(Slot("energy", ENERGY),),
        example=(2_000,),
        under=BATTERY_EVENTS,
        since=2,
        meaning="Nobody may have more energy in the battery; who has more keeps it and gets none until there is room.",
    ),
)
