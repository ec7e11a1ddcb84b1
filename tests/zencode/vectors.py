"""Vectors: zencode/vectors/ - what bindings come to, from the tree over the postings to the state hash, for ever.

    python -m tests.zencode.vectors               write those of the current catalogue version that may still change
    python -m tests.zencode.vectors --release     let none of them change any more

A file has all that is needed to execute it again, in any language: the genesis with the binding's tree, and the signed
blocks of a small day; and what every node must come to: verdicts, postings and state hashes, block by block. There
is one for each preset that this version can found a microgrid with, and one for each statement of the catalogue
that can stand in a small binding.

A released file is listed with its digest in `released.txt` and is never written again: ledgers were made by what
it says. A binding stands in the folder of the catalogue version that it needs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

import zencode
from meshnode.keys import verify
from meshnode.machine import Event, Machine, RecordDone
from meshnode.market.registry import installed_mechanisms
from meshnode.rules import hindrances, zone_said
from meshnode.settlement import GRID_ACCOUNT, POOL_ACCOUNT, Posting
from meshnode.settlement.billing_periods import BillingPosted
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.settlement.dues import DuesPosted
from protocols import block as blocks
from protocols.records import Genesis, chain_id, read_as, to_payload
from tests.ledger.chain import Chain
from tests.protocols.village import START_S
from zencode.binding import Binding, Block, Statement, binding_hash, check_tree, encode, same_fact, sorted_statements
from zencode.languages import Phase
from zencode.lint import errors
from zencode.presets import NAMES, preset
from zencode.reader import read
from zencode.sentences import BY_ID, CATALOGUE_VERSION, SENTENCES, Sentence
from zencode.terms import terms
from zencode.versions import needs
from zencode.writer import WriteError, write

FOLDER = Path(zencode.__file__).parent / "vectors"
RELEASED = FOLDER / "released.txt"
HOMES = ("anna", "bela", "carla")
# What each home draws and gives in a period, in Wh.
USE = {"anna": (400, 0), "bela": (300, 0), "carla": (0, 600)}
# And so much more in each period, so that no estimate is right by chance.
MORE_WH = 37
LATE = ("bela", 1)

# A community that trades, shares and has a fee: most statements change what it does.
BASE = """\
Rule language 'en'
Rule binding version 1
Scenario 'vector': A small community
Given the currency is 'EUR'
And the settlement period is 15 minutes
And corrections are accepted for 2 days
And grid energy costs 0.30 EUR/kWh
And grid feed-in pays 0.08 EUR/kWh
When somebody asks to join as 'prosumer'
Then accept the member
When a member places an order
Then match orders in a double auction at one price
When a settlement period closes
Then share production at the mid-market rate
And charge a fee of 0.01 EUR/kWh on 'traded energy'
"""
# Where it is needed: what examples of the catalogue name.
ROLES = "And grid feed-in pays 0.08 EUR/kWh\n"
THINGS = """\
And there is a role 'member'
And there is a role 'operator'
And 'flat 1A' has an allocation share of 100 %
And the band 'peak' runs from 08:00 to 19:00 on 'Monday to Friday'
And the band 'evening' runs from 17:00 to 21:00
And the battery 'Bay Battery' stores 400 kWh at 100 kW and belongs to 'Bay Coop'
And the feeder 'Harbour Road' is measured by the meter 'a1'
And the feed 'grid' tells whether the grid is there
And the grid fee between members who share 0 levels of the grid is 0.05 EUR/kWh
And value added tax of category 'S' is 19 %
And the asset 'PALM' is 'money' and at most 1000 of it exist
And the asset 'SUN' is 'utility' and at most 1000 of it exist
And the asset 'ACCESS' is 'utility' and at most 1000 of it exist
And the asset 'STORED' is 'energy' and at most 1000 of it exist
And 'flat 1A' has rank 1 in sharing
"""


class Vector(msgspec.Struct, frozen=True):
    """One case: `file` below the folder, and what stands in it."""

    file: str
    content: dict[str, Any]


# --- the small day


def a_day(text: str, binding: Binding, periods: int) -> Chain:
    """Orders for two periods, readings of some, one of them late: a day of three homes."""
    length_s = terms(binding).settlement_period_s
    # Its times of day are those of the genesis.
    zone = zone_said(binding)
    chain = Chain(binding=text) if zone is None else Chain(binding=text, zone=zone)

    def start_s(period: int) -> int:
        return START_S + period * length_s

    registers = {home: [10_000, 500] for home in HOMES}
    chain.block(*(chain.reading(home, 0, 10_000, 500, period_start_s=start_s(-1)) for home in HOMES))
    chain.block(
        *(
            order
            for period in range(2)
            for order in (
                chain.bid("anna", 0, 300, 250_000, period_start_s=start_s(period)),
                chain.bid("bela", 0, 200, 120_000, period_start_s=start_s(period)),
                chain.offer("carla", 0, 450, 100_000, period_start_s=start_s(period)),
            )
        )
    )
    for period in range(periods):
        said = []
        for home, (import_wh, export_wh) in USE.items():
            registers[home][0] += import_wh + MORE_WH * period
            registers[home][1] += export_wh
            said.append((home, chain.reading(home, 0, *registers[home], period_start_s=start_s(period))))
        grace_s = terms(binding).grace_s
        chain.block(*(one for home, one in said if (home, period) != LATE), time_s=start_s(period + 1) + 5)
        if period == LATE[1]:
            chain.block(time_s=start_s(period + 1) + grace_s)
            chain.block(*(one for home, one in said if home == LATE[0]))
    return chain


def vector(name: str, text: str, periods: int, about: dict[str, Any]) -> dict[str, Any]:
    """The content of a case: its inputs, and what executing them comes to."""
    binding = read(text)
    chain = a_day(text, binding, periods)
    content = {
        "name": name,
        **about,
        "catalogue": needs(binding),
        "text": text.split("\n"),
        "tree": encode(binding).hex(),
        "hash": binding_hash(binding).hex(),
        "genesis": to_payload(chain.genesis).hex(),
        "blocks": [block.encoded.hex() for block in chain.blocks],
    }
    return content | {"results": executed(content)}


def executed(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Execute what a file has; what each block comes to."""
    genesis = read_as(Genesis, bytes.fromhex(content["genesis"]))
    assert genesis.binding.hex() == content["tree"]
    assert sha256(genesis.binding).hexdigest() == content["hash"]
    machine = Machine(genesis, chain_id(genesis), installed_mechanisms(), verify)
    names = {account: row.name for account, row in machine.state.accounts.items()}
    names |= {GRID_ACCOUNT: "grid", POOL_ACCOUNT: "pool"}
    found = []
    for data in content["blocks"]:
        block = blocks.read(bytes.fromhex(data), machine.chain_id)
        assert machine.check_view(block) is None
        events = machine.apply(block)
        state_hash = machine.state_hash()
        assert state_hash is not None
        found.append(
            {
                "height": machine.height,
                "verdicts": [event.verdict.name for event in events if isinstance(event, RecordDone)],
                "postings": [line for event in events for line in _postings(event, names)],
                "state_hash": state_hash.hex(),
            }
        )
    machine.check_invariants()
    return found


def _postings(event: Event, names: dict[bytes, str]) -> Iterator[str]:
    if isinstance(event, PeriodClosed):
        yield from (_line(event.start_s, posting, names) for posting in event.settlement.postings)
    elif isinstance(event, PeriodCorrected):
        yield from (_line(event.start_s, posting, names) for posting in event.postings)
    elif isinstance(event, BillingPosted):
        yield from (_line(event.last_s, posting, names) for posting in event.postings)
    elif isinstance(event, DuesPosted):
        yield from (_line(event.start_s, posting, names) for posting in event.postings)


def _line(start_s: int, posting: Posting, names: dict[bytes, str]) -> str:
    """A posting as a line: who pays whom how much, for what, when."""
    payer, payee = (names.get(account, account.hex()) for account in (posting.debit, posting.credit))
    amount = f"{posting.amount_u} {posting.asset.decode()} micro-units"
    energy = f"{posting.energy_wh} Wh at {posting.price_u_kwh}"
    return f"{start_s}: {payer} -> {payee}: {amount}, {energy}, {posting.reason.name} {posting.entry.name}"


# --- the cases


def all_vectors() -> list[Vector]:
    """Those of every catalogue version, as this version of the project makes them."""
    found = []
    for name in NAMES:
        binding = read(preset(name))
        if hindrances(binding, installed_mechanisms()):
            continue
        # Without its comments, so that these may be improved.
        text = write(binding)
        content = vector(f"preset {name}", text, 4, {"preset": name})
        found.append(Vector(f"{_folder(content)}/{name}.json", content))
    for row in SENTENCES:
        text = _text_with(row)
        if text is not None:
            content = vector(f"statement {row.id}", text, 2, {"statement": row.id, "sentence": row.name})
            found.append(Vector(f"{_folder(content)}/statement-{row.id}.json", content))
    return found


def _folder(content: dict[str, Any]) -> str:
    return f"catalogue-{content['catalogue']}"


def _text_with(row: Sentence) -> str | None:
    """The small community with a statement of this row; None if it cannot stand there alone."""
    statement = Statement(row.id, row.example)
    for base in (read(BASE), read(BASE.replace(ROLES, ROLES + THINGS))):
        for binding in _with(base, row, statement):
            try:
                check_tree(binding)
                text = write(binding)
                fits = not errors(binding) and not hindrances(binding, installed_mechanisms())
            except (ValueError, WriteError):
                continue
            if fits and read(text) == binding:
                return text
    return None


def _with(base: Binding, row: Sentence, statement: Statement) -> Iterator[Binding]:
    """Where a statement could stand, the most natural place first."""
    if row.phase in (Phase.RULE, Phase.GIVEN):
        field = "rules" if row.phase == Phase.RULE else "givens"
        others = [one for one in getattr(base, field) if same_fact(one) != same_fact(statement)]
        yield msgspec.structs.replace(base, **{field: sorted_statements([*others, statement])})
        return
    if row.phase == Phase.THEN:
        for number, block in enumerate(base.blocks):
            if block.event.id in row.under:
                others = [action for action in block.actions if action.id != row.id]
                longer = msgspec.structs.replace(block, actions=(*others, statement))
                yield msgspec.structs.replace(base, blocks=(*base.blocks[:number], longer, *base.blocks[number + 1 :]))
    for event, condition, action in _blocks(row, statement):
        block = Block(event, () if condition is None else (condition,), (action,))
        kept = [one for one in base.blocks if one.event != event or condition is not None]
        yield msgspec.structs.replace(base, blocks=(*kept, block))


def _blocks(row: Sentence, statement: Statement) -> Iterator[tuple[Statement, Statement | None, Statement]]:
    """An event, perhaps a condition, and an action, one of which is of the row."""
    events = [row.id] if row.phase == Phase.WHEN else list(row.under)
    for event_id in events:
        event = statement if row.phase == Phase.WHEN else _example(event_id)
        if row.phase == Phase.THEN:
            yield event, None, statement
            continue
        for other in SENTENCES:
            if other.phase == Phase.THEN and event_id in other.under:
                yield event, statement if row.phase == Phase.IF else None, _example(other.id)


def _example(id: int) -> Statement:
    return Statement(id, BY_ID[id].example)


# --- the files


def as_text(content: dict[str, Any]) -> str:
    """A file's text."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def digest(text: str) -> str:
    """What `released.txt` says of a file."""
    return sha256(text.encode()).hexdigest()


def released() -> dict[str, str]:
    """File -> digest, of those that never change."""
    if not RELEASED.exists():
        return {}
    lines = [line.split("  ") for line in RELEASED.read_text(encoding="utf-8").splitlines() if line]
    return {file: known for known, file in lines}


def stored() -> dict[str, str]:
    """File -> text, of all there are."""
    return {
        f"{path.parent.name}/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted(FOLDER.glob("catalogue-*/*.json"))
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what may change, and release if told to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--release", action="store_true", help="list every file with its digest, for ever")
    chosen = parser.parse_args(arguments)
    kept = released()
    made = {one.file: as_text(one.content) for one in all_vectors()}
    for file in sorted(stored().keys() - made.keys() - kept.keys()):
        (FOLDER / file).unlink()
    for file, text in made.items():
        if file not in kept:
            (FOLDER / file).parent.mkdir(parents=True, exist_ok=True)
            (FOLDER / file).write_text(text, encoding="utf-8")
    if chosen.release:
        now = kept | {file: digest(text) for file, text in stored().items() if file not in kept}
        RELEASED.write_text("".join(f"{now[file]}  {file}\n" for file in sorted(now)), encoding="utf-8")
    print(f"{FOLDER}: {len(stored())} files, {len(released())} of them released, catalogue version {CATALOGUE_VERSION}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
