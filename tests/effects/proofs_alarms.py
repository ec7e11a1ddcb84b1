"""Proofs of what is said of events that nobody decides on: somebody is warned, paid back, or frozen."""

from __future__ import annotations

from meshnode.ledger.member_rows import Warning
from meshnode.ledger.verdicts import Verdict
from protocols.evidence import EvidenceKind
from protocols.records import Unfreeze
from tests.effects.ledgers import claim_u, ledger, read_on
from tests.effects.proof import Proof
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.tokens import has
from zencode.catalogue import ids

ACCEPTED = Verdict.ACCEPTED
OPERATOR = "there is a role 'operator'"


def silent_bela(*actions: str, minutes: int = 31, condition: str = "", givens: tuple[str, ...] = ()) -> Chain:
    """Everybody reports the first quarter of an hour; bela is silent from then on, for so many minutes."""
    chain = ledger(*silence(*actions, condition=condition), givens=(OPERATOR, *givens))
    quiet(chain, minutes)
    return chain


def silence(*actions: str, condition: str = "") -> tuple[str, ...]:
    """What is said of a meter that is silent for half an hour."""
    said = ["When a meter is silent for 30 minutes", *([f"If {condition}"] if condition else [])]
    said += [f"{'And' if number else 'Then'} {action}" for number, action in enumerate(actions)]
    return (*said, *(["EndIf"] if condition else []))


def quiet(chain: Chain, minutes: int) -> None:
    """Everybody reports the first quarter of an hour, then all but bela."""
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    read_on(chain, 0)
    for period in range(1, 1 + minutes // 15):
        others = [chain.reading(home, period, 0) for home in ("anna", "carla")]
        chain.block(*others, time_s=max(period_s(period + 1), chain.now_s + 1))
    chain.block(time_s=max(period_s(1) + minutes * 60, chain.now_s + 1))


def warned(chain: Chain) -> list[Warning]:
    return [row for _, row in chain.machine.state.warnings.items()]


def warn() -> None:
    """The operator is warned of bela's meter, once; nobody is where nothing is said."""
    chain = silent_bela("warn 'operator'")
    [found] = warned(chain)
    assert (found.event, found.account, found.roles) == (ids.METER_SILENT, account("bela"), ("operator",))
    chain.block(time_s=chain.now_s + 120)
    assert len(warned(chain)) == 1
    assert warned(silent_bela("pay back 1 EUR for each missed hour")) == []


def meter_silent() -> None:
    """After half an hour the silence is acted on, and not after twenty-nine minutes."""
    assert len(warned(silent_bela("warn 'operator'", minutes=30))) == 1
    assert warned(silent_bela("warn 'operator'", minutes=29)) == []


def pay_back() -> None:
    """Two full hours of silence are paid back by the community fund; less than one is not; nor is it twice."""
    chain = silent_bela("pay back 1.50 EUR for each missed hour", minutes=125)
    assert claim_u(chain, "bela") == 3_000_000
    chain.block(time_s=chain.now_s + 120)
    assert claim_u(chain, "bela") == 3_000_000
    assert claim_u(silent_bela("pay back 1.50 EUR for each missed hour", minutes=59), "bela") == 0
    assert claim_u(silent_bela("warn 'operator'", minutes=125), "bela") == 0


def is_frozen(chain: Chain, home: str = "bela") -> bool:
    """Whether a home can send nothing to anybody."""
    said = chain.say(chain.transfer(home, "anna" if home != "anna" else "carla", 1))
    assert said in (Verdict.FROZEN, Verdict.UNKNOWN_ASSET, Verdict.NOT_ENOUGH, ACCEPTED)
    return said == Verdict.FROZEN


def freeze() -> None:
    """Bela's account is frozen: she sends nothing, though her readings count; an administrator lifts it."""
    chain = silent_bela("freeze the account")
    assert is_frozen(chain) and not is_frozen(chain, "carla")
    assert chain.say(chain.reading("bela", 2, 500)) == ACCEPTED
    assert chain.say(chain.speak("carla", Unfreeze, account=account("bela"))) == Verdict.NOT_ADMINISTRATOR
    assert chain.say(chain.speak("anna", Unfreeze, account=account("bela"))) == ACCEPTED
    assert not is_frozen(chain)
    assert not is_frozen(silent_bela("warn 'operator'"))


def evidence_found() -> None:
    """Bela's node voted for two: where the binding speaks of it her account is frozen, elsewhere it is only known."""
    found = []
    for blocks in (("When evidence against a validator is found\nThen freeze the account",), ()):
        chain = ledger(*blocks)
        lie = (chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"))
        chain.block(chain.evidence(EvidenceKind.VOTES, "bela", *lie, signer="anna"))
        assert chain.verdicts() == [ACCEPTED]
        found.append(is_frozen(chain))
    assert found == [True, False]


def has_role() -> None:
    """Only who has the role is frozen for silence: bela is a prosumer, and no trader."""
    assert is_frozen(silent_bela("freeze the account", condition="the member has the role 'prosumer'"))
    assert not is_frozen(silent_bela("freeze the account", condition="the member has the role 'operator'"))


def owing(condition: str, owed_u: int) -> bool:
    """Whether bela, who owes so much, or is owed it below zero, is frozen for silence under a condition."""
    chain = ledger(*silence("freeze the account", condition=condition))
    chain.block(*(chain.reading(home, -1, 0, 0) for home in ("anna", "bela", "carla")))
    drawn, fed = (owed_u * 1000 // 300_000, 0) if owed_u > 0 else (0, -owed_u * 1000 // 100_000)
    others = [chain.reading(home, 0, 0) for home in ("anna", "carla")]
    chain.block(chain.reading("bela", 0, drawn, fed), *others, time_s=period_s(1))
    assert claim_u(chain, "bela") == -owed_u
    chain.block(time_s=period_s(1) + 31 * 60)
    return is_frozen(chain)


def balance_above() -> None:
    """Bela is owed 6 EUR: more than 5, and not more than 7."""
    assert owing("the balance of the member is above 5 EUR", -6_000_000)
    assert not owing("the balance of the member is above 7 EUR", -6_000_000)


def balance_below() -> None:
    """Bela owes 6 EUR: her balance is below zero, and one who is owed 6 EUR is not below 5."""
    assert owing("the balance of the member is below 5 EUR", 6_000_000)
    assert not owing("the balance of the member is below 5 EUR", -6_000_000)


def holding(condition: str) -> bool:
    """Whether bela, who has 30 SUN, is frozen for silence under a condition."""
    assets = (f"the asset '{code}' is 'access' and at most 1000 of it exist" for code in ("SUN", "MOON"))
    issued = (f"'anna' issues the asset '{code}'" for code in ("SUN", "MOON"))
    chain = ledger(*silence("freeze the account", condition=condition), givens=(*assets, *issued))
    chain.block(chain.issue("anna"), chain.issue("anna", "MOON"))
    chain.block(chain.transfer("anna", "bela", 30))
    # What is held for an exchange is hers as well.
    chain.block(tokens.offer(chain, "bela", (10, "SUN"), (1, "MOON")))
    assert has(chain, "bela", "SUN") == (20, 10)
    quiet(chain, 31)
    return is_frozen(chain)


def holds_more() -> None:
    """Bela has 30 SUN: more than 29, and not more than 30."""
    assert holding("the member holds more than 29 of the asset 'SUN'")
    assert not holding("the member holds more than 30 of the asset 'SUN'")


def holds_less() -> None:
    """Bela has 30 SUN: fewer than 31, and not fewer than 30; of what she never had she has none."""
    assert holding("the member holds fewer than 31 of the asset 'SUN'")
    assert not holding("the member holds fewer than 30 of the asset 'SUN'")
    assert holding("the member holds fewer than 1 of the asset 'MOON'")


IMPLAUSIBLE = "When the readings of a meter are implausible\n"


def backwards(*blocks: str) -> Chain:
    """Bela's register runs backwards."""
    chain = ledger(*blocks, givens=(OPERATOR,))
    chain.block(chain.reading("bela", -1, 5000))
    assert chain.say(chain.reading("bela", 0, 4000), time_s=period_s(1)) == Verdict.REGISTER_DECREASES
    return chain


def implausible() -> None:
    """A register that runs backwards is an event: the binding may warn of it, or freeze the account."""
    found = backwards(f"{IMPLAUSIBLE}Then warn 'operator'\nAnd freeze the account")
    [row] = warned(found)
    assert (row.event, row.account, "operator" in row.roles) == (ids.IMPLAUSIBLE, account("bela"), True)
    assert is_frozen(found) and not is_frozen(backwards())


def refuse_reading() -> None:
    """Where the binding refuses such readings nobody has to look; where it does not an administrator sees the mark."""
    assert warned(backwards(f"{IMPLAUSIBLE}Then refuse the reading")) == []
    [mark] = warned(backwards())
    assert (mark.event, mark.roles) == (ids.IMPLAUSIBLE, ("administrator",))


PROOFS: dict[int, Proof] = {
    ids.METER_SILENT: meter_silent,
    ids.EVIDENCE_FOUND: evidence_found,
    ids.WARN: warn,
    ids.IMPLAUSIBLE: implausible,
    ids.REFUSE_READING: refuse_reading,
    ids.PAY_BACK: pay_back,
    ids.FREEZE: freeze,
    ids.HAS_ROLE: has_role,
    ids.BALANCE_ABOVE: balance_above,
    ids.BALANCE_BELOW: balance_below,
    ids.HOLDS_MORE: holds_more,
    ids.HOLDS_LESS: holds_less,
}
