"""Token stories: for each verdict about assets, exchanges, cash and contracts the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.ledger.holds import MAX_HOLD_S
from meshnode.ledger.verdicts import Verdict
from protocols.records import BURNING_ISSUER, MEASURE_EXPORT, MEASURE_IMPORT, POLICY_ONCE
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, member
from tests.ledger.tokens import DAY_S

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


def with_tokens() -> Chain:
    """Anna has 100 SUN, Bela 100 EURO that Carla, the cashier, gave him."""
    chain = Chain()
    chain.block(chain.issue("anna"), tokens.money(chain))
    chain.block(tokens.pay_in(chain, "bela", 100, "bank 1"))
    return chain


@story(Verdict.NOT_BURNABLE)
def _() -> Found:
    """What only its issuer may destroy stays, whoever has it."""
    chain = Chain()
    chain.block(chain.issue("anna", burning=BURNING_ISSUER))
    chain.block(chain.transfer("anna", "bela", 10))
    assert chain.say(tokens.burn(chain, "anna", 5)) == Verdict.ACCEPTED
    return chain.say(tokens.burn(chain, "bela", 5))


@story(Verdict.MINTED_ONCE)
def _() -> Found:
    """A billion, and never one more: also not for those that were destroyed."""
    chain = Chain()
    fixed = {"amount": 10**9, "cap": 10**9, "policy": POLICY_ONCE}
    assert chain.say(chain.issue("anna", "ACCESS", **fixed)) == Verdict.ACCEPTED
    chain.block(tokens.burn(chain, "anna", 7, "ACCESS"))
    return chain.say(chain.issue("anna", "ACCESS", **fixed | {"amount": 7}))


@story(Verdict.METER_MINTS)
def _() -> Found:
    chain = Chain()
    return chain.say(chain.issue("anna", "LOG", 5, policy=1, measure=MEASURE_IMPORT, unit_wh=1))


@story(Verdict.RULES_CONTRADICT)
def _() -> Found:
    """What meters mint says what they count, and nobody sells it for money; nothing else counts energy."""
    chain = Chain()
    return chain.say(
        chain.issue("anna", "LOG", 0, policy=1, measure=MEASURE_IMPORT),
        chain.issue("anna", "LOG", 0, policy=1, unit_wh=1),
        chain.issue("anna", "LOG", 0, measure=MEASURE_IMPORT, unit_wh=1),
        chain.issue("anna", "LOG", 0, policy=1, measure=MEASURE_IMPORT, unit_wh=1, cashier=account("bela")),
        chain.issue("anna", "LOG", 0, policy=1, measure=MEASURE_IMPORT, unit_wh=1, settles=1),
        chain.issue("anna", "ACCESS", 9, policy=POLICY_ONCE, cashier=account("bela")),
    )


@story(Verdict.OTHER_RULES)
def _() -> Found:
    """A log of what was drawn does not become one of what was given; a token with rules says them each time."""
    chain = Chain()
    chain.block(tokens.metered(chain, "LOG", MEASURE_IMPORT, 1000), chain.issue("anna", "SUN", burning=BURNING_ISSUER))
    return chain.say(tokens.metered(chain, "LOG", MEASURE_EXPORT, 1000), chain.issue("anna", "SUN"))


@story(Verdict.UNKNOWN_HOLD)
def _() -> Found:
    """Never offered; a transfer that is no offer; accepted by two; a sale that is no exchange; paid out twice."""
    chain = with_tokens()
    offered = tokens.offer(chain, "anna", (10, "SUN"), (5, "EURO"))
    other = chain.transfer("anna", "bela", 1)
    chain.block(tokens.pay_in(chain, "carla", 50, "bank 2"))
    assert chain.say(tokens.accept(chain, "bela", offered)) == Verdict.UNKNOWN_HOLD
    chain.block(offered, other)
    assert chain.say(tokens.accept(chain, "bela", offered)) == Verdict.ACCEPTED
    sale, asked = tokens.sell(chain, "bela", "anna", 5), tokens.ask(chain, "bela", 5)
    chain.block(sale, asked)
    assert chain.say(tokens.pay_out(chain, asked, "bank 3")) == Verdict.ACCEPTED
    return chain.say(
        tokens.accept(chain, "carla", offered),
        tokens.accept(chain, "carla", other),
        tokens.accept(chain, "anna", sale),
        tokens.withdraw(chain, "anna", offered),
        tokens.confirm(chain, "anna", offered),
        tokens.pay_out(chain, asked, "bank 4"),
        tokens.release(chain, "carla", asked),
    )


@story(Verdict.NOT_FOR_YOU)
def _() -> Found:
    """An offer to one member, withdrawn by a third; a sale that the buyer confirms; owners who take back."""
    chain = with_tokens()
    offered = tokens.offer(chain, "anna", (10, "SUN"), (5, "EURO"), to="bela")
    sale, asked = tokens.sell(chain, "bela", "anna", 5), tokens.ask(chain, "bela", 5)
    chain.block(offered, sale, asked, tokens.pay_in(chain, "carla", 50, "bank 2"))
    return chain.say(
        tokens.accept(chain, "carla", offered),
        tokens.withdraw(chain, "carla", offered),
        tokens.confirm(chain, "anna", sale),
        tokens.release(chain, "bela", sale),
        tokens.release(chain, "bela", asked),
    )


@story(Verdict.SAME_ASSET)
def _() -> Found:
    chain = with_tokens()
    return chain.say(tokens.offer(chain, "anna", (10, "SUN"), (5, "SUN")))


@story(Verdict.END_NOT_AHEAD)
def _() -> Found:
    """Over already, without an end, and for longer than anybody remembers."""
    chain = with_tokens()
    ends = (chain.now_s + 5, 0, chain.now_s + MAX_HOLD_S + 6)
    return chain.say(
        *(tokens.offer(chain, "anna", (10, "SUN"), (5, "EURO"), until_s=end_s) for end_s in ends),
        *(tokens.ask(chain, "bela", 5, until_s=end_s) for end_s in ends),
        *(tokens.sell(chain, "bela", "anna", 5, until_s=end_s) for end_s in ends),
    )


@story(Verdict.TOO_MANY_HOLDS)
def _() -> Found:
    """Offers that are withdrawn make room."""
    chain = with_tokens()
    with mock.patch("meshnode.ledger.holds.MAX_HOLDS_PER_ACCOUNT", 2):
        first = tokens.offer(chain, "anna", (10, "SUN"), (5, "EURO"))
        chain.block(first, tokens.offer(chain, "anna", (10, "SUN"), (6, "EURO")))
        refused = chain.say(tokens.offer(chain, "anna", (10, "SUN"), (7, "EURO")))
        chain.block(tokens.withdraw(chain, "anna", first))
        assert chain.say(tokens.offer(chain, "anna", (10, "SUN"), (7, "EURO"))) == Verdict.ACCEPTED
    assert isinstance(refused, Verdict)
    return refused


@story(Verdict.NOT_CASHIER)
def _() -> Found:
    """Not even the administrator, nor who was the cashier before."""
    chain = with_tokens()
    asked = tokens.ask(chain, "bela", 5)
    chain.block(asked)
    found = chain.say(
        tokens.pay_in(chain, "anna", 5, "bank 2", by="anna"), tokens.pay_out(chain, asked, "x", by="anna")
    )
    chain.block(tokens.money(chain, "bela"))
    assert isinstance(found, list)
    last = chain.say(tokens.pay_in(chain, "anna", 5, "bank 2"))
    assert isinstance(last, Verdict)
    return [*found, last]


@story(Verdict.REFERENCE_TAKEN)
def _() -> Found:
    """One payment, said twice: by two records, for other amounts, and as one that went out."""
    chain = with_tokens()
    asked = tokens.ask(chain, "bela", 5)
    chain.block(asked)
    return chain.say(
        tokens.pay_in(chain, "bela", 100, "bank 1"),
        tokens.pay_in(chain, "anna", 1, "bank 1"),
        tokens.pay_out(chain, asked, "bank 1"),
    )


@story(Verdict.NO_CASHIER)
def _() -> Found:
    chain = with_tokens()
    return chain.say(tokens.pay_in(chain, "bela", 5, "bank 2", asset="SUN"), tokens.ask(chain, "anna", 5, "SUN"))


@story(Verdict.TOO_MANY_ASSETS)
def _() -> Found:
    chain = Chain()
    chain.block(chain.issue("anna", "A"), chain.issue("anna", "B"))
    with mock.patch("meshnode.ledger.assets.MAX_ASSETS", 2):
        assert chain.say(chain.issue("anna", "B")) == Verdict.ACCEPTED
        return chain.say(chain.issue("anna", "C"))


@story(Verdict.SETTLES_ALREADY)
def _() -> Found:
    """Periods are paid with one token."""
    chain = Chain()
    chain.block(chain.issue("anna", "EURO", settles=1))
    return chain.say(chain.issue("anna", "DOLLAR", settles=1))


# --- contracts


@story(Verdict.UNKNOWN_CONTRACT)
def _() -> Found:
    """Never offered, and a token that is no contract."""
    chain = Chain()
    token, never = chain.issue("anna"), tokens.contract(chain, "anna", "bela")
    chain.block(token)
    return chain.say(
        tokens.sign(chain, "bela", token), tokens.sign(chain, "bela", never), tokens.end(chain, "bela", never)
    )


@story(Verdict.NOT_A_PARTY)
def _() -> Found:
    """Who offers does not sign for the other, and a third has no say."""
    chain = Chain()
    offered = tokens.contract(chain, "anna", "bela")
    chain.block(offered)
    return chain.say(
        tokens.sign(chain, "anna", offered), tokens.sign(chain, "carla", offered), tokens.end(chain, "carla", offered)
    )


@story(Verdict.CONTRACT_SIGNED)
def _() -> Found:
    chain = Chain()
    offered = tokens.contract(chain, "anna", "bela")
    chain.block(offered)
    assert chain.say(tokens.sign(chain, "bela", offered)) == Verdict.ACCEPTED
    return chain.say(tokens.sign(chain, "bela", offered))


@story(Verdict.CONTRACT_ENDED)
def _() -> Found:
    """Withdrawn before it was signed; ended twice; signed after its time."""
    chain = Chain()
    first, second = tokens.contract(chain, "anna", "bela"), tokens.contract(chain, "anna", "bela")
    short = tokens.contract(chain, "anna", "bela", until_s=chain.now_s + 100)
    chain.block(first, second, short)
    chain.block(tokens.end(chain, "anna", first), tokens.sign(chain, "bela", second))
    assert chain.say(tokens.end(chain, "bela", second)) == Verdict.ACCEPTED
    return chain.say(
        tokens.sign(chain, "bela", first),
        tokens.end(chain, "anna", second),
        tokens.sign(chain, "bela", second),
        tokens.sign(chain, "bela", short),
        tokens.end(chain, "anna", short),
        time_s=short.record.step.until_s,  # type: ignore[attr-defined]
    )


@story(Verdict.CONTRACT_TIMES)
def _() -> Found:
    """It ends when it begins, and it was over when it was offered."""
    chain = Chain()
    return chain.say(
        tokens.contract(chain, "anna", "bela", until_s=chain.now_s),
        tokens.contract(chain, "anna", "bela", from_s=chain.now_s - DAY_S, until_s=chain.now_s - 1),
    )


@story(Verdict.TOO_MANY_CONTRACTS)
def _() -> Found:
    """Who is offered too many is not kept from offering one."""
    chain = Chain()
    with mock.patch("meshnode.ledger.contracts.MAX_CONTRACTS_PER_ACCOUNT", 2):
        chain.block(*(tokens.contract(chain, "anna", "bela") for _ in range(2)))
        assert chain.say(tokens.contract(chain, "bela", "anna")) == Verdict.ACCEPTED
        return chain.say(tokens.contract(chain, "anna", "carla"))


# --- assets in general


@story(Verdict.UNKNOWN_ACCOUNT)
def _() -> Found:
    """Nobody of that name, and somebody who has left - who cannot leave twice either."""
    chain = Chain()
    chain.block(chain.issue("anna"), chain.join(member("emil")))
    chain.block(chain.leave("emil"))
    return chain.say(chain.transfer("anna", "gina", 1), chain.transfer("anna", "emil", 1), chain.leave("emil", "anna"))


@story(Verdict.UNKNOWN_ASSET)
def _() -> Found:
    chain = Chain()
    return chain.say(chain.transfer("anna", "bela", 1, "MOON"))


@story(Verdict.NOT_ENOUGH)
def _() -> Found:
    """A hundred there are: ninety go, and then eleven are too many."""
    chain = Chain()
    chain.block(chain.issue("anna", amount=100))
    assert chain.say(chain.transfer("anna", "bela", 90)) == Verdict.ACCEPTED
    return chain.say(chain.transfer("anna", "bela", 11))


@story(Verdict.OVER_CAP)
def _() -> Found:
    chain = Chain()
    assert chain.say(chain.issue("anna", amount=900, cap=1000)) == Verdict.ACCEPTED
    assert chain.say(chain.issue("anna", amount=100, cap=1000)) == Verdict.ACCEPTED
    return chain.say(chain.issue("anna", amount=1, cap=1000), chain.issue("anna", "MOON", amount=11, cap=10))


@story(Verdict.NOT_ISSUER)
def _() -> Found:
    """Another administrator's token, and one's own with another cap or kind."""
    chain = Chain()
    chain.block(chain.issue("anna"), chain.join(member("emil", ("administrator",))))
    return chain.say(chain.issue("emil"), chain.issue("anna", cap=2000), chain.issue("anna", asset_kind=1))


@story(Verdict.SAME_ACCOUNT)
def _() -> Found:
    chain = Chain()
    chain.block(chain.issue("anna"))
    return chain.say(chain.transfer("anna", "anna", 1))
