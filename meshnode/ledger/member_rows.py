"""Member rows: what the tables of requests to join, warnings, silences, frozen accounts and bills hold."""

from __future__ import annotations

import msgspec


class JoinRequest(msgspec.Struct, frozen=True):
    """A request to join that the members are asked about; the table's key is the record id of the Join.

    join: the record's payload. needed_ppm: of the members who are there when the last one agrees.
    until_s: when it lapses. agreed, against: accounts that have spoken, sorted.
    """

    join: bytes
    needed_ppm: int
    until_s: int
    agreed: tuple[bytes, ...] = ()
    against: tuple[bytes, ...] = ()


class Warning(msgspec.Struct, frozen=True):
    """Somebody ought to look; the table's key is (height, number in the block).

    event: id of the event in the catalogue. account: whom it is about, empty if nobody. meter: which, empty if none.
    roles: who is warned, sorted.
    """

    event: int
    time_s: int
    account: bytes
    meter: bytes
    roles: tuple[str, ...]


class Silence(msgspec.Struct, frozen=True):
    """A meter that has been silent for longer than the binding allows; the key is (meter, so many seconds).

    since_s: end of what it reported last. paid_hours: for which its owner was paid back.
    """

    since_s: int
    paid_hours: int = 0


class Frozen(msgspec.Struct, frozen=True):
    """An account that gives no order, transfer or redemption; the key is the account. event: why, by its id."""

    event: int
    since_s: int


class Turnover(msgspec.Struct, frozen=True):
    """What an account has been charged and credited since its last bill; the key is the account.

    deposit_u: what the community holds of it. closes_s: when the account of a member who left closes; 0 before.
    """

    charges_u: int = 0
    credits_u: int = 0
    deposit_u: int = 0
    closes_s: int = 0


class Bill(msgspec.Struct, frozen=True):
    """An account's newest bill; the key is the account.

    from_s, until_s: what it is for. charges_u, credits_u: without tax. tax_u, tax_credit_u: value added tax on each.
    pay_u, receive_u: what its owner pays and is paid; where debts are netted one of them is 0. collector: who
    collects it, due_s: until when; "" and 0 where nobody does.
    """

    from_s: int
    until_s: int
    charges_u: int
    credits_u: int
    tax_u: int
    tax_credit_u: int
    pay_u: int
    receive_u: int
    collector: str
    due_s: int
