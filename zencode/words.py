"""Words: quoted names whose meaning the product knows, so that a binding may be translated.

What may be shown, what a fee is charged on, what may be split, by which key is shared: the tree holds one
canonical word, each language has its spelling. Names of the community's own are no words.
"""

from __future__ import annotations

from functools import cache

from msgspec import Struct


class Word(Struct, frozen=True):
    """A quoted name whose meaning the product knows.

    `canonical` is what the tree holds and never changes; `words` has the
    spelling of each language. The spellings of all languages are read in a text
    of any language: otherwise a name could change its meaning in translation.
    `since`: the version of the catalogue with which it came.
    """

    canonical: str
    words: dict[str, str]
    since: int = 1


def _word(en: str, it: str, es: str, de: str, canonical: str = "", since: int = 1) -> Word:
    return Word(canonical or en, {"en": en, "it": it, "es": es, "de": de}, since)


#: What may be shown or hidden.
VIEWS = (
    _word("all trades", "tutti gli scambi", "todas las operaciones", "alle Geschäfte"),
    _word("order owner names", "nomi di chi ordina", "nombres de quienes ordenan", "Namen der Auftraggeber"),
    _word("readings", "letture", "lecturas", "Zählerstände"),
    _word("own readings", "letture proprie", "lecturas propias", "eigene Zählerstände"),
    _word(
        "readings of other homes", "letture delle altre case", "lecturas de otros hogares", "Zählerstände der anderen"
    ),
    _word("load curves", "curve di carico", "curvas de carga", "Lastgänge"),
    _word("own hourly curve", "curva oraria propria", "curva horaria propia", "eigener Lastgang"),
    _word("curves of other homes", "curve delle altre case", "curvas de otros hogares", "Lastgänge der anderen"),
    _word("period totals", "totali di periodo", "totales por periodo", "Periodensummen"),
    _word("monthly totals", "totali mensili", "totales mensuales", "Monatssummen"),
    _word("session totals", "totali di ricarica", "totales por recarga", "Summen der Ladevorgänge"),
    _word("own bill", "bolletta propria", "factura propia", "eigene Rechnung"),
    _word("car plate", "targa dell'auto", "matrícula del coche", "Autokennzeichen"),
)

#: What a fee per kWh is charged on.
ENERGIES = (
    _word("traded energy", "energia scambiata", "energía intercambiada", "gehandelte Energie"),
    _word("stored energy", "energia accumulata", "energía almacenada", "gespeicherte Energie"),
    _word("solar energy", "energia solare", "energía solar", "Solarenergie"),
    _word("grid energy", "energia di rete", "energía de la red", "Netzstrom"),
    _word("consumed energy", "energia consumata", "energía consumida", "verbrauchte Energie", since=2),
    _word("injected energy", "energia immessa", "energía vertida", "eingespeiste Energie", since=2),
)

#: What may be split.
FEES = (
    _word("network fee", "commissione di rete", "tasa de red", "Netzgebühr"),
    _word("membership fee", "quota associativa", "cuota de socio", "Mitgliedsbeitrag"),
    _word("storage fee", "commissione di accumulo", "tasa de almacenamiento", "Speichergebühr"),
    _word("charging fee", "commissione di ricarica", "tasa de recarga", "Ladegebühr"),
    _word("incentive", "incentivo", "incentivo", "Förderung"),
)

#: Audiences that need no «there is a role».
AUDIENCES = (
    _word("everyone", "tutti", "todos", "alle"),
    _word("other members", "altri membri", "otros miembros", "andere Mitglieder"),
)

#: Recipients of a split that are known without a name of their own.
RECIPIENTS = (
    _word("community fund", "fondo della comunità", "fondo de la comunidad", "Gemeinschaftsfonds"),
    _word("social fund", "fondo sociale", "fondo social", "Sozialfonds"),
    _word("node operators", "gestori dei nodi", "operadores de los nodos", "Knotenbetreiber"),
    _word("battery owner", "proprietario della batteria", "propietario de la batería", "Batterieeigentümer"),
    _word("consumers", "consumatori", "consumidores", "Verbraucher"),
    _word("producers", "produttori", "productores", "Erzeuger"),
)

#: What an asset is.
ASSET_SORTS = (
    _word("money", "denaro", "dinero", "Geld", since=2),
    _word("energy", "energia", "energía", "Energie", since=2),
    _word("access", "accesso", "acceso", "Zugang", canonical="utility", since=2),
)

#: Where the energy for redeemed units comes from.
ENERGY_SOURCES = (
    _word("injection", "immissione", "inyección", "Einspeisung", since=2),
    _word("common battery", "batteria comune", "batería común", "gemeinsame Batterie", since=2),
    _word("own battery", "batteria propria", "batería propia", "eigene Batterie", since=2),
)

#: Days of the week that a time band runs on.
WEEKDAYS = (
    _word("Monday to Friday", "dal lunedì al venerdì", "de lunes a viernes", "Montag bis Freitag", since=2),
    _word("Saturday", "sabato", "sábado", "Samstag", since=2),
    _word("Sunday", "domenica", "domingo", "Sonntag", since=2),
    _word("Saturday and Sunday", "sabato e domenica", "sábado y domingo", "Samstag und Sonntag", since=2),
)


def _key(canonical: str, en: str, it: str, es: str, de: str) -> Word:
    return _word(en, it, es, de, canonical=canonical, since=2)


#: Sharing keys that laws and grid operators define; the general ones are sentences of their own.
SHARING_KEYS = (
    _key("es-static", "Spain fixed", "Spagna fisso", "España fijo", "Spanien fest"),
    _key("es-hourly", "Spain hourly", "Spagna orario", "España horario", "Spanien stündlich"),
    _key("it-cer", "Italy", "Italia", "Italia", "Italien"),
    _key("at-static", "Austria static", "Austria statico", "Austria estático", "Österreich statisch"),
    _key("at-dynamic", "Austria dynamic", "Austria dinamico", "Austria dinámico", "Österreich dynamisch"),
    _key(
        "de-42b-static",
        "Germany building static",
        "Germania edificio statico",
        "Alemania edificio estático",
        "Deutschland Gebäude statisch",
    ),
    _key(
        "de-42b-dynamic",
        "Germany building dynamic",
        "Germania edificio dinamico",
        "Alemania edificio dinámico",
        "Deutschland Gebäude dynamisch",
    ),
    _key(
        "de-42c-static",
        "Germany area static",
        "Germania area statico",
        "Alemania área estático",
        "Deutschland Gebiet statisch",
    ),
    _key(
        "de-42c-dynamic",
        "Germany area dynamic",
        "Germania area dinamico",
        "Alemania área dinámico",
        "Deutschland Gebiet dynamisch",
    ),
    _key("fr-static", "France static", "Francia statico", "Francia estático", "Frankreich statisch"),
    _key(
        "fr-default-dynamic",
        "France dynamic by default",
        "Francia dinamico ordinario",
        "Francia dinámico por defecto",
        "Frankreich dynamisch nach Verbrauch",
    ),
    _key(
        "fr-simple-dynamic",
        "France dynamic simple",
        "Francia dinamico semplice",
        "Francia dinámico simple",
        "Frankreich dynamisch einfach",
    ),
    _key("be-fixed", "Belgium fixed", "Belgio fisso", "Bélgica fijo", "Belgien fest"),
    _key("be-equal", "Belgium equal", "Belgio uguale", "Bélgica igual", "Belgien gleich"),
    _key("be-rounds", "Belgium rounds", "Belgio a giri", "Bélgica por rondas", "Belgien in Runden"),
    _key("be-pro-rata", "Belgium by use", "Belgio per consumi", "Bélgica por consumo", "Belgien nach Verbrauch"),
    _key("be-hybrid", "Belgium hybrid", "Belgio ibrido", "Bélgica híbrido", "Belgien gemischt"),
    _key("lu-pro-rata", "Luxembourg by use", "Lussemburgo per consumi", "Luxemburgo por consumo", "Luxemburg anteilig"),
    _key(
        "lu-percentage",
        "Luxembourg percentages",
        "Lussemburgo percentuali",
        "Luxemburgo porcentajes",
        "Luxemburg prozentual",
    ),
    _key("lu-priority", "Luxembourg priority", "Lussemburgo priorità", "Luxemburgo prioridad", "Luxemburg Rangfolge"),
)

KNOWN_WORDS: dict[str, tuple[Word, ...]] = {
    "view": VIEWS,
    "energy": ENERGIES,
    "fee": FEES,
    "audience": AUDIENCES,
    "recipient": RECIPIENTS,
    "asset sort": ASSET_SORTS,
    "weekdays": WEEKDAYS,
    "sharing key": SHARING_KEYS,
    "energy source": ENERGY_SOURCES,
}


@cache
def canonical_words(vocabulary: str) -> dict[str, str]:
    """Case-folded spelling in any language, or the canonical word itself -> canonical word."""
    return {
        spelling.casefold(): word.canonical
        for word in KNOWN_WORDS[vocabulary]
        for spelling in (word.canonical, *word.words.values())
    }


@cache
def spoken_words(vocabulary: str, language: str) -> dict[str, str]:
    """Canonical word -> its spelling in `language`."""
    return {word.canonical: word.words[language] for word in KNOWN_WORDS[vocabulary]}


@cache
def word_since(vocabulary: str) -> dict[str, int]:
    """Canonical word -> the version of the catalogue with which it came."""
    return {word.canonical: word.since for word in KNOWN_WORDS[vocabulary]}
