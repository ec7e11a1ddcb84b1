"""Registry: finds the installed mechanisms through the entry point group `meshnode.mechanisms`.

Called once when a node starts; the result is handed to the state machine as
data, so that nothing looks for packages while a block is applied. Mechanisms of
this project come through the same door as anybody's.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from meshnode.market.mechanism import Mechanism, MechanismError, Mechanisms

GROUP: Final = "meshnode.mechanisms"

BUILTIN: Final = {
    "pay-as-clear": "meshnode.market.pay_as_clear:MECHANISM",
    "mid-market-rate": "meshnode.market.mid_market:MECHANISM",
    "pay-as-bid": "meshnode.market.pay_as_bid:MECHANISM",
    "continuous": "meshnode.market.continuous:MECHANISM",
    "rising-auction": "meshnode.market.rising_auction:MECHANISM",
    "falling-auction": "meshnode.market.falling_auction:MECHANISM",
}
"""The group's own lines in pyproject.toml. In a checkout that is not installed there are no entry points
to read, so these are added where the group lacks them."""


def installed_mechanisms() -> Mechanisms:
    """Load every mechanism of the group.

    Raises:
        MechanismError: an entry point that cannot be imported or is no mechanism, or two
            with one name and version.
    """
    found = list(entry_points(group=GROUP))
    present = {(entry.name, entry.value) for entry in found}
    found += [EntryPoint(*line, GROUP) for line in BUILTIN.items() if line not in present]
    return Mechanisms(load(entry) for entry in sorted(found, key=lambda entry: (entry.name, entry.value)))


def load(entry: EntryPoint) -> Mechanism:
    """Import one entry point and check that it is a mechanism.

    Raises:
        MechanismError: it cannot be imported, or lacks name, version or clear.
    """
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        raise MechanismError(
            f"mechanism {entry.name} ({entry.value}) cannot be imported: {error}; reinstall or remove its package"
        ) from error
    if not isinstance(loaded, Mechanism):
        raise MechanismError(
            f"mechanism {entry.name} ({entry.value}) is a {type(loaded).__name__} without name, version "
            f"and clear; expected an object that keeps meshnode.market.Mechanism"
        )
    return loaded
