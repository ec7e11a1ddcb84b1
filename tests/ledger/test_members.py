"""Members: joining, leaving, and keys that change while accounts and meters stay."""

from __future__ import annotations

import msgspec
import pytest

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import StateMismatch
from protocols.records import MemberEntry, OpenCounters, Order, Reading
from tests.ledger.chain import Chain, account, member, meter_id, meter_key, period_s
from tests.protocols.keys import key_pair
from tests.protocols.village import device

ACCEPTED = Verdict.ACCEPTED


def test_a_newcomer_trades_and_is_metered_from_the_next_period_on() -> None:
    chain = Chain()
    assert chain.say(chain.join(member("emil")), time_s=period_s(0) + 10) == ACCEPTED
    assert chain.say(chain.bid("emil", 0, 100, 150_000)) == Verdict.METER_NOT_ACTIVE
    assert chain.say(chain.bid("emil", 1, 100, 150_000)) == ACCEPTED
    row = chain.machine.state.accounts[account("emil")]
    assert (row.name, row.roles, row.joined_s, row.left_s) == ("emil", ("prosumer",), period_s(0) + 10, 0)
    assert chain.machine.state.meters[meter_id("emil")].from_s == period_s(1)


def test_a_newcomer_at_the_very_beginning_of_a_period_belongs_to_it() -> None:
    chain = Chain()
    chain.block(chain.join(member("emil")), time_s=period_s(1))
    assert chain.machine.state.meters[meter_id("emil")].from_s == period_s(1)


def test_a_key_counts_from_the_block_after_the_one_that_brought_it() -> None:
    chain = Chain()
    join, order = chain.join(member("emil")), chain.bid("emil", 1, 100, 150_000)
    block = chain.village.block(
        chain.head,
        records=[join, order],
        head={"state_height": 0, "state_hash": chain.machine.state_hash()},
    )
    assert chain.machine.check_view(block) == "block 1, record 1: UNKNOWN_KEY"
    assert chain.say(join) == ACCEPTED
    assert chain.say(order) == ACCEPTED


def test_an_administrator_can_be_admitted_and_admits_others() -> None:
    chain = Chain()
    chain.block(chain.join(member("emil", ("administrator",))))
    assert chain.say(chain.join(member("fritz"), by="emil")) == ACCEPTED


def test_who_leaves_is_metered_to_the_end_of_the_period_and_speaks_no_more() -> None:
    chain = Chain(3)
    chain.block(chain.join(member("emil")))
    chain.block(chain.reading("emil", 0, 100), time_s=period_s(1))
    order = chain.bid("emil", 2, 100, 150_000)
    chain.block(order)
    assert chain.say(chain.leave("emil"), time_s=period_s(1) + 400) == ACCEPTED
    assert chain.machine.state.accounts[account("emil")].left_s == period_s(1) + 400
    assert chain.machine.check_record(chain.bid("emil", 1, 100, 150_000), chain.now_s) == Verdict.UNKNOWN_KEY
    # The meter still reports the period that was running ...
    assert chain.say(chain.reading("emil", 1, 160), time_s=period_s(2)) == ACCEPTED
    chain.block(time_s=period_s(3) + 130)
    assert chain.machine.state.metered[(period_s(1), account("emil"))].import_wh == 60
    # ... and the order for the one after it found nobody to settle with.
    assert (period_s(2), account("emil")) not in chain.machine.state.metered
    assert len(chain.machine.state.orders) == len(chain.machine.state.order_counts) == 0


def test_an_administrator_can_send_a_member_away() -> None:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    assert chain.say(chain.leave("emil", by="anna")) == ACCEPTED
    assert chain.say(chain.leave("emil", by="anna")) == Verdict.UNKNOWN_ACCOUNT


def test_a_new_member_key_takes_over_and_the_account_stays() -> None:
    chain = Chain()
    chain.block(chain.issue("anna"))
    new = key_pair("bela 2")
    assert chain.say(chain.change_key("bela", key_pair("bela"), new)) == ACCEPTED
    order = chain.bid("bela", 1, 100, 150_000)
    assert chain.machine.check_record(order, chain.now_s) == Verdict.UNKNOWN_KEY
    assert isinstance(order.record, Order)
    assert chain.say(chain.sign(order.record, new)) == ACCEPTED
    assert [row.account for _, row in chain.machine.state.orders.items()] == [account("bela")]
    assert chain.say(chain.transfer("anna", "bela", 5)) == ACCEPTED


def test_a_key_of_before_is_refused_in_blocks_made_after_but_not_in_older_ones() -> None:
    """A block in flight names the state it was made on: all nodes judge it by that state, whenever they ask."""
    chain = Chain()
    order = chain.bid("bela", 1, 100, 150_000)
    old_state = {"state_height": 0, "state_hash": chain.machine.state_hash()}
    chain.block(chain.change_key("bela", key_pair("bela"), key_pair("bela 2")))
    late = chain.village.block(chain.head, records=[order], head=old_state)
    assert chain.machine.check_view(late) is None
    fresh = chain.village.block(
        chain.head, records=[order], head={"state_height": 1, "state_hash": chain.machine.state_hash()}
    )
    assert chain.machine.check_view(fresh) == "block 2, record 0: UNKNOWN_KEY"
    ahead = chain.village.block(chain.head, head={"state_height": 2, "state_hash": bytes(32)})
    assert chain.machine.check_view(ahead) == "block 2: state height 2 is not applied here yet"


def test_a_new_meter_key_reports_for_the_same_meter() -> None:
    chain = Chain()
    chain.block(chain.reading("bela", -1, 100))
    new = meter_key("bela", 9)
    assert chain.say(chain.change_key("bela", meter_key("bela"), new)) == ACCEPTED
    assert chain.say(chain.reading("bela", 0, 250, key=new), time_s=period_s(1)) == ACCEPTED
    chain.block(time_s=period_s(1) + 130)
    assert chain.machine.state.metered[(period_s(0), account("bela"))].import_wh == 150
    old = chain.sign(
        Reading(meter=meter_id("bela"), period_start_s=period_s(1), values=OpenCounters(import_wh=1, export_wh=0)),
        meter_key("bela"),
    )
    assert chain.machine.check_record(old, chain.now_s) == Verdict.UNKNOWN_KEY


def test_a_lost_meter_or_device_key_can_be_revoked_but_not_the_last_member_key() -> None:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    assert chain.say(chain.change_key("emil", meter_key("emil"), None)) == ACCEPTED
    assert chain.say(chain.change_key("emil", device("emil"), None)) == ACCEPTED
    assert chain.say(chain.change_key("emil", device("emil"), None)) == Verdict.UNKNOWN_KEY
    assert chain.say(chain.change_key("emil", key_pair("emil"), None)) == Verdict.WRONG_KEY
    assert chain.say(chain.change_key("bela", meter_key("carla"), None)) == Verdict.UNKNOWN_KEY


def test_numbers_may_be_used_again_once_their_record_is_void() -> None:
    """Remembered until no block may carry the record any more, then forgotten: the state does not grow for ever."""
    chain = Chain()
    chain.block(chain.issue("anna", amount=50))
    first = chain.transfer("anna", "bela", 10, nonce=7, valid_until_s=chain.now_s + 300)
    assert chain.say(first) == ACCEPTED
    assert chain.say(chain.transfer("anna", "bela", 10, nonce=7)) == Verdict.NONCE_TAKEN
    # The next closing of a period sweeps.
    chain.block(time_s=period_s(1) + 130)
    assert chain.machine.check_record(first, chain.now_s) == Verdict.EXPIRED
    assert chain.say(chain.transfer("anna", "bela", 10, nonce=7)) == ACCEPTED
    assert chain.say(chain.transfer("bela", "anna", 1, nonce=7)) == ACCEPTED  # numbers are per key
    chain.block(time_s=chain.now_s + 2 * 86400)
    assert len(chain.machine.state.nonces) == 0


def test_a_refused_record_cannot_be_tried_again() -> None:
    """Not enough today: the same signed transfer must not go through tomorrow."""
    chain = Chain()
    chain.block(chain.issue("anna"))
    early = chain.transfer("bela", "carla", 10)
    assert chain.say(early) == Verdict.NOT_ENOUGH
    chain.block(chain.transfer("anna", "bela", 50))
    assert chain.say(early) == Verdict.REPEATED
    assert [row.free for _, row in chain.machine.state.balances.items()] in ([50, 50],)


def test_blocks_are_executed_in_order_and_only_on_the_state_that_they_name() -> None:
    chain = Chain()
    chain.block()
    chain.block(certify=False, state_hash=bytes(32))
    with pytest.raises(StateMismatch, match=r"state after height 1: ours is [0-9a-f]{64}, the leader \w+ signed 0000"):
        chain.machine.apply(chain.blocks[1])
    with pytest.raises(ValueError, match="block 1 after height 1"):
        chain.machine.apply(chain.blocks[0])


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (msgspec.structs.replace(member("bela"), name="anna"), "the name 'anna' stands twice"),
        (msgspec.structs.replace(member("bela"), device_key=device("anna").public), "two keys have the id"),
    ],
)
def test_founders_with_one_name_or_key_found_nothing(second: MemberEntry, message: str) -> None:
    with pytest.raises(ValueError, match=f"genesis: .*{message}"):
        Chain(1, members=(member("anna"), second))


def test_a_validator_must_be_a_members_device() -> None:
    with pytest.raises(ValueError, match="is no member's device"):
        Chain(2, members=(member("anna"),))
