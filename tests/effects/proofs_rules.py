"""Proofs of a binding's rules: its language and versions, and the zone that its times of day are of."""

from __future__ import annotations

from collections.abc import Callable

from meshnode.config import ConfigError
from meshnode.founding import found, zone_data_version
from tests.effects.ledgers import ledger, text
from tests.effects.proof import Proof
from tests.ledger.chain import member
from tests.protocols.village import device
from zencode.binding import binding_hash
from zencode.catalogue import ids
from zencode.mistakes import BindingErrors
from zencode.presets import preset
from zencode.reader import read
from zencode.terms import TermsError, terms


def fault(attempt: Callable[[], object], kind: type[Exception]) -> str:
    """What is said against something."""
    try:
        attempt()
    except kind as error:
        return str(error)
    raise AssertionError(f"expected {kind.__name__}")


def language() -> None:
    """A binding is read in the language that it says: the Italian text means the same, and is no English one."""
    english, italian = preset("neighbour_market"), preset("neighbour_market", "it")
    assert binding_hash(read(italian)) == binding_hash(read(english))
    said = next(line for line in italian.splitlines() if line.endswith("'it'"))
    assert "this line is in Italian" in fault(lambda: read(italian.replace(said, "Rule language 'en'")), BindingErrors)


def version() -> None:
    """Every binding says which version of the form it is of, and another one than the first is not read."""
    said = text()
    assert read(said).given(ids.VERSION) is not None
    fault(lambda: read(said.replace("binding version 1", "binding version 2")), BindingErrors)
    fault(lambda: read(said.replace("Rule binding version 1\n", "")), BindingErrors)


def catalogue() -> None:
    """A binding of an older catalogue has none of the newer sentences; one of a newer catalogue founds nothing here."""
    newer = "When a settlement period closes\nThen charge 0.01 EUR in every settlement period"
    assert terms(read(text(newer, rules=("catalogue version 2",))))
    old = fault(lambda: terms(read(text(newer, rules=("catalogue version 1",)))), TermsError)
    assert old == "its sentences need version 2 of the catalogue"
    assert "between 1 and 2" in fault(lambda: read(text(rules=("catalogue version 9",))), BindingErrors)


def founded(*rules: str, zone: str = "Europe/Rome") -> object:
    """A microgrid is founded in a zone."""
    return found(
        "Palm Bay", text(rules=rules), [member("anna", ("administrator",))], [device("anna").public], zone=zone
    )


def time_zone() -> None:
    """Times of day are those of Rome: a community elsewhere is not founded with them, nor does a node follow one."""
    rule = "times of day are those of 'Europe/Rome'"
    assert founded(rule) and founded(zone="Europe/Lisbon")
    assert "--zone Europe/Rome" in fault(lambda: founded(rule, zone="Europe/Lisbon"), ConfigError)
    assert ledger(rules=(rule,), zone="Europe/Rome").machine.height == 0
    assert "not of Europe/Lisbon" in fault(lambda: ledger(rules=(rule,), zone="Europe/Lisbon"), ValueError)


def zone_data() -> None:
    """The table of the zone comes from the release of the database that the binding names, or from none."""
    here = zone_data_version()
    assert here is not None and founded(f"time zone data version '{here}'")
    told = fault(lambda: founded("time zone data version '1999z'"), ConfigError)
    assert f"version 1999z, this computer has {here}" in told


PROOFS: dict[int, Proof] = {
    ids.LANGUAGE_RULE: language,
    ids.VERSION: version,
    ids.CATALOGUE: catalogue,
    ids.TIME_ZONE: time_zone,
    ids.ZONE_DATA: zone_data,
}
