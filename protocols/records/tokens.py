"""Tokens: the records that destroy, exchange, sell and pay out assets, and contracts between members.

What a member commits is taken out of its free amount and held, under the record's id, until another
record takes it or its time has passed; nothing here ever moves one leg of two.
"""

from __future__ import annotations

from typing import Annotated

from protocols.cose import HASH_BYTES
from protocols.records.schema import Bytes, Field, Int, Name, Nested, OneOf, Second, Table, Uint, register
from protocols.records.statements import (
    MAX_AMOUNT,
    MAX_ASSET_BYTES,
    MAX_MEMO_BYTES,
    MAX_POWER_W,
    MAX_PRICE_U_KWH,
    AccountId,
    RecordId,
    Spoken,
)

# A bank's end-to-end reference has 35 characters (ISO 20022, Max35Text); a receipt's number fewer.
MAX_REFERENCE_BYTES = 48
# As people name it: solar, wind, the roof of the school.
MAX_SOURCE_BYTES = 32
MAX_ROLE_BYTES = 32
# A day: slower than that is no response.
MAX_RESPONSE_S = 86_400

Code = Name(MAX_ASSET_BYTES)
Amount = Int(1, MAX_AMOUNT)
Reference = Name(MAX_REFERENCE_BYTES)


@register(15)
class Burn(Spoken, frozen=True, kw_only=True):
    """An amount of one's own is destroyed; signed by the member key."""

    asset: Annotated[str, Field(3, Code, "asset code")]
    amount: Annotated[int, Field(4, Amount, "in the asset's smallest unit")]


class ExchangeOffer(Table, frozen=True, kw_only=True):
    """An amount of one asset for an amount of another; what is given is held until somebody accepts."""

    give: Annotated[str, Field(1, Code, "code of the asset that is given")]
    give_amount: Annotated[int, Field(2, Amount, "how much of it, held from now on")]
    want: Annotated[str, Field(3, Code, "code of the asset that is wanted, another one")]
    want_amount: Annotated[int, Field(4, Amount, "how much of it")]
    until_s: Annotated[int, Field(5, Second(), "UTC second after which it goes back")]
    to: Annotated[bytes | None, Field(6, AccountId, "who alone may accept; everybody, if nobody is named")] = None


class ExchangeAccept(Table, frozen=True, kw_only=True):
    """An offer is accepted: both amounts change hands at once, or neither does."""

    offer: Annotated[bytes, Field(1, RecordId, "record id of the offer")]


class ExchangeWithdraw(Table, frozen=True, kw_only=True):
    """An offer is withdrawn by who made it, or declined by whom alone it was made to."""

    offer: Annotated[bytes, Field(1, RecordId, "record id of the offer")]


@register(16)
class Exchange(Spoken, frozen=True, kw_only=True):
    """Two assets change hands between two members; signed by the member key of whose step it is."""

    step: Annotated[
        ExchangeOffer | ExchangeAccept | ExchangeWithdraw,
        Field(
            3,
            OneOf(offer=(0, ExchangeOffer), accept=(1, ExchangeAccept), withdraw=(2, ExchangeWithdraw)),
            "what is done",
        ),
    ]


class CashIn(Table, frozen=True, kw_only=True):
    """Money has come in: the asset's cashier issues as many tokens to a member."""

    asset: Annotated[str, Field(1, Code, "asset code")]
    to: Annotated[bytes, Field(2, AccountId, "who paid, and gets the tokens")]
    amount: Annotated[int, Field(3, Amount, "in the asset's smallest unit")]
    reference: Annotated[str, Field(4, Reference, "of the payment; each counts once")]


class CashAsk(Table, frozen=True, kw_only=True):
    """A member wants money for tokens: they are held until the cashier has paid."""

    asset: Annotated[str, Field(1, Code, "asset code")]
    amount: Annotated[int, Field(2, Amount, "in the asset's smallest unit, held from now on")]
    until_s: Annotated[int, Field(3, Second(), "UTC second after which they go back")]
    memo: Annotated[bytes, Field(4, Bytes(1, MAX_MEMO_BYTES), "where to pay, sealed for the cashier")] = b""


class CashOut(Table, frozen=True, kw_only=True):
    """Money has gone out: the cashier destroys the tokens that were held for it."""

    ask: Annotated[bytes, Field(1, RecordId, "record id of the member's wish")]
    reference: Annotated[str, Field(2, Reference, "of the payment; each counts once")]


class CashSell(Table, frozen=True, kw_only=True):
    """A member sells tokens to another for money that the ledger does not see: they are held for the buyer."""

    to: Annotated[bytes, Field(1, AccountId, "the buyer")]
    asset: Annotated[str, Field(2, Code, "asset code")]
    amount: Annotated[int, Field(3, Amount, "in the asset's smallest unit, held from now on")]
    until_s: Annotated[int, Field(4, Second(), "UTC second after which they go back")]
    reference: Annotated[str | None, Field(5, Reference, "what the buyer is to write on the payment")] = None


class CashConfirm(Table, frozen=True, kw_only=True):
    """The seller has got the buyer's money: the tokens are the buyer's."""

    sale: Annotated[bytes, Field(1, RecordId, "record id of the sale")]


class CashRelease(Table, frozen=True, kw_only=True):
    """The cashier or the buyer lets go: what was held for them goes back to its owner."""

    held: Annotated[bytes, Field(1, RecordId, "record id of the wish or of the sale")]


@register(17)
class Cash(Spoken, frozen=True, kw_only=True):
    """Tokens for money outside the ledger; signed by the member key of whose step it is."""

    step: Annotated[
        CashIn | CashAsk | CashOut | CashSell | CashConfirm | CashRelease,
        Field(
            3,
            OneOf(
                money_in=(0, CashIn),
                ask=(1, CashAsk),
                out=(2, CashOut),
                sell=(3, CashSell),
                confirm=(4, CashConfirm),
                release=(5, CashRelease),
            ),
            "what is done",
        ),
    ]


class ServiceLevel(Table, frozen=True, kw_only=True):
    """What one party promises the other; what is left out is not agreed on."""

    maximum_power_w: Annotated[int | None, Field(1, Uint(MAX_POWER_W), "never more than this")] = None
    priority: Annotated[int | None, Field(2, Uint(255), "when it is scarce; a lower number comes first")] = None
    source: Annotated[str | None, Field(3, Name(MAX_SOURCE_BYTES), "where the energy comes from")] = None
    price_cap_u_kwh: Annotated[int | None, Field(4, Uint(MAX_PRICE_U_KWH), "never dearer than this")] = None
    response_time_s: Annotated[int | None, Field(5, Uint(MAX_RESPONSE_S), "from a call to its effect")] = None


class ContractOffer(Table, frozen=True, kw_only=True):
    """One member offers a contract to another."""

    to: Annotated[bytes, Field(1, AccountId, "the other party")]
    role: Annotated[str, Field(2, Name(MAX_ROLE_BYTES), "what the offering party is in it, such as supplier")]
    service: Annotated[ServiceLevel, Field(3, Nested(ServiceLevel), "what it promises")]
    terms: Annotated[bytes, Field(4, Bytes(HASH_BYTES), "SHA-256 of the contract's text, which both parties have")]
    from_s: Annotated[int, Field(5, Second(), "UTC second at which it begins")]
    until_s: Annotated[int, Field(6, Second(), "UTC second at which it ends")]


class ContractSign(Table, frozen=True, kw_only=True):
    """The other party agrees."""

    contract: Annotated[bytes, Field(1, RecordId, "record id of the offer")]


class ContractEnd(Table, frozen=True, kw_only=True):
    """One of the parties ends it; before it was signed that withdraws or refuses the offer."""

    contract: Annotated[bytes, Field(1, RecordId, "record id of the offer")]


@register(18)
class Contract(Spoken, frozen=True, kw_only=True):
    """A contract between two members, which comes before any order under it; signed by the member key."""

    step: Annotated[
        ContractOffer | ContractSign | ContractEnd,
        Field(3, OneOf(offer=(0, ContractOffer), sign=(1, ContractSign), end=(2, ContractEnd)), "what is done"),
    ]
