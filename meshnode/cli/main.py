"""Main: the command `meshnode` and the groups of its commands."""

from __future__ import annotations

import sys

from meshnode import __version__
from meshnode.cli import (
    auctions,
    bindings,
    cash,
    community,
    compensation,
    contracts,
    credit,
    delivery,
    demonstration,
    feeds,
    governance,
    ledgers,
    lies,
    market,
    membership,
    meters,
    microgrids,
    newcomer,
    origin,
    phones,
    prices,
    running,
    sharing,
    simulating,
    standing,
    steps,
    storage,
    tokens,
    trading,
    wishes,
)
from meshnode.cli.output import guarded
from meshnode.cli.parser import Group

app = Group(
    "A community's electricity market and ledger on the small computers that it has.",
    epilog="Exit codes: 0 fine, 1 the answer is no, 2 something to mend (the message says what),\n"
    "3 not known yet (ask again with: meshnode record ID), 130 stopped.\n"
    "The version: meshnode --version.",
)
for part in (
    *(running, microgrids, newcomer, community, membership, trading, standing, steps, wishes, auctions),
    *(tokens, cash, contracts),
    *(delivery, phones, storage, credit, prices, compensation, origin, feeds),
    *(bindings, simulating, governance, market, sharing, meters, ledgers, lies, demonstration),
):
    part.add_to(app)


def main() -> None:
    """Run what was typed, and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        print(f"meshnode {__version__}")
        return
    command, arguments = app.find(sys.argv[1:], "meshnode")
    sys.exit(guarded(lambda: command(**arguments)))


if __name__ == "__main__":
    main()
