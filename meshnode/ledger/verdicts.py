"""Verdicts: what `apply` says of each record of a block, as a number and as a sentence.

The number is part of the format: it never changes its meaning and none is reused.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """Why a record took effect or did not."""

    ACCEPTED = 0
    REPEATED = 1
    UNKNOWN_KEY = 2
    WRONG_KEY = 3
    BAD_SIGNATURE = 4
    EXPIRED = 5
    VALID_TOO_LONG = 6
    NONCE_TAKEN = 7
    NOT_EXECUTED = 8
    PERIOD_OFF_GRID = 11
    PERIOD_NOT_OVER = 12
    CORRECTION_TOO_LATE = 13
    VERSION_CONFLICT = 14
    REGISTER_DECREASES = 15
    METER_NOT_ACTIVE = 16
    IMPLAUSIBLE = 17
    NO_MARKET = 20
    PERIOD_OVER = 21
    PERIOD_TOO_FAR = 22
    PRICE_BELOW_FLOOR = 23
    PRICE_ABOVE_CAP = 24
    ORDER_TOO_LARGE = 25
    TOO_MANY_ORDERS = 26
    UNKNOWN_ORDER = 27
    UNKNOWN_ACCOUNT = 30
    UNKNOWN_ASSET = 31
    NOT_ENOUGH = 32
    OVER_CAP = 33
    NOT_ISSUER = 34
    SAME_ACCOUNT = 35
    NOT_ADMINISTRATOR = 40
    NAME_TAKEN = 41
    KEY_TAKEN = 42
    ROLE_NOT_ADMITTED = 43
    BAD_PROOF = 44
    VALIDATOR_KEY = 45
    COMMUNITY_FULL = 46
    CHANGE_INCOMPLETE = 50
    OTHER_QUORUM = 51
    CHANGE_PENDING = 52
    CHANGES_NOTHING = 53
    NOT_A_VALIDATOR = 54
    TOO_FEW_VALIDATORS = 55
    TOO_MANY_VALIDATORS = 56
    NOT_BYZANTINE_SIZE = 57
    UNKNOWN_DEVICE = 58
    NOT_PROVED = 60
    KNOWN_EVIDENCE = 61
    NOT_BURNABLE = 70
    MINTED_ONCE = 71
    METER_MINTS = 72
    RULES_CONTRADICT = 73
    OTHER_RULES = 74
    UNKNOWN_HOLD = 75
    NOT_FOR_YOU = 76
    SAME_ASSET = 77
    END_NOT_AHEAD = 78
    TOO_MANY_HOLDS = 79
    NOT_CASHIER = 80
    REFERENCE_TAKEN = 81
    NO_CASHIER = 82
    TOO_MANY_ASSETS = 83
    SETTLES_ALREADY = 84
    UNKNOWN_METER = 140
    UNKNOWN_CODE = 141
    NOT_AS_METERED = 142
    INSTALLED_ALREADY = 143
    UNKNOWN_INSTALLATION = 144
    NOT_NOW = 145
    TOO_MANY_INSTALLATIONS = 146
    NOT_CERTIFIED = 147
    TOO_MANY_CERTIFICATES = 148
    PERIOD_CLOSED = 149
    UNKNOWN_FEED = 150
    NOT_A_FEEDER = 151
    VALUE_STALE = 152
    VALUE_TOO_FAR = 153
    VALUE_IMPOSSIBLE = 154
    VALUE_AGREED = 155
    VALUE_SAID = 156
    FEED_CONTRADICTS = 157
    TOO_MANY_FEEDS = 158
    UNKNOWN_CONTRACT = 160
    NOT_A_PARTY = 161
    CONTRACT_SIGNED = 162
    CONTRACT_ENDED = 163
    CONTRACT_TIMES = 164
    TOO_MANY_CONTRACTS = 165


SENTENCES: dict[Verdict, str] = {
    Verdict.ACCEPTED: "accepted",
    Verdict.REPEATED: "the same record is on the ledger already; nothing was done twice",
    Verdict.UNKNOWN_KEY: "the key that signed it belongs to no member, or has been revoked",
    Verdict.WRONG_KEY: "this kind of record must be signed with another of the member's keys",
    Verdict.BAD_SIGNATURE: "the signature does not hold",
    Verdict.EXPIRED: "its validity had ended before a block could carry it",
    Verdict.VALID_TOO_LONG: "it claims to be valid for longer than the community allows",
    Verdict.NONCE_TAKEN: "its number was used before, for another record",
    Verdict.NOT_EXECUTED: "this version of the ledger does not carry out records of this kind",
    Verdict.PERIOD_OFF_GRID: "no settlement period begins at that time",
    Verdict.PERIOD_NOT_OVER: "the settlement period is not over yet",
    Verdict.CORRECTION_TOO_LATE: "the time for corrections of that period has passed",
    Verdict.VERSION_CONFLICT: "another reading with this version or a newer one is on the ledger",
    Verdict.REGISTER_DECREASES: "a register would run backwards",
    Verdict.METER_NOT_ACTIVE: "the meter does not count in that period",
    Verdict.IMPLAUSIBLE: "more energy than any home's connection could carry in that time",
    Verdict.NO_MARKET: "the binding has no market for orders",
    Verdict.PERIOD_OVER: "that settlement period is over; orders for it are closed",
    Verdict.PERIOD_TOO_FAR: "that settlement period is further ahead than orders are taken",
    Verdict.PRICE_BELOW_FLOOR: "the binding refuses prices this low",
    Verdict.PRICE_ABOVE_CAP: "the binding refuses prices this high",
    Verdict.ORDER_TOO_LARGE: "the binding refuses orders this large",
    Verdict.TOO_MANY_ORDERS: "the member has too many open orders in that period",
    Verdict.UNKNOWN_ORDER: "there is no such open order of this member",
    Verdict.UNKNOWN_ACCOUNT: "there is no such member",
    Verdict.UNKNOWN_ASSET: "there is no such asset",
    Verdict.NOT_ENOUGH: "the member does not have that much",
    Verdict.OVER_CAP: "more would exist than the asset's cap allows",
    Verdict.NOT_ISSUER: "only the asset's issuer may mint it, with the same kind and cap",
    Verdict.SAME_ACCOUNT: "sender and receiver are the same",
    Verdict.NOT_ADMINISTRATOR: "only an administrator may do this",
    Verdict.NAME_TAKEN: "the name is taken",
    Verdict.KEY_TAKEN: "one of the keys is in use, or was",
    Verdict.ROLE_NOT_ADMITTED: "the binding admits nobody in one of these roles",
    Verdict.BAD_PROOF: "the newcomer's proof of its key does not hold",
    Verdict.VALIDATOR_KEY: "a validator's device key is not changed this way",
    Verdict.COMMUNITY_FULL: "the community has as many members as the ledger settles",
    Verdict.CHANGE_INCOMPLETE: "a change of the validators names either a device or a mode, as it needs",
    Verdict.OTHER_QUORUM: "the validators have changed since it was signed",
    Verdict.CHANGE_PENDING: "an earlier change of the validators is not in force yet",
    Verdict.CHANGES_NOTHING: "the validators are like that already",
    Verdict.NOT_A_VALIDATOR: "that device is no validator",
    Verdict.TOO_FEW_VALIDATORS: "too few validators would be left",
    Verdict.TOO_MANY_VALIDATORS: "there are as many validators as there may be",
    Verdict.NOT_BYZANTINE_SIZE: "byzantine quorums need 4, 7 or 10 validators",
    Verdict.UNKNOWN_DEVICE: "that is not the device of a member",
    Verdict.NOT_PROVED: "it does not prove what it accuses a node of",
    Verdict.KNOWN_EVIDENCE: "the ledger knows of the same lie already",
    Verdict.NOT_BURNABLE: "only the asset's issuer may destroy any of it",
    Verdict.MINTED_ONCE: "the asset was minted once and for all",
    Verdict.METER_MINTS: "meters mint this asset; nobody issues it by hand",
    Verdict.RULES_CONTRADICT: "an asset that meters mint says which energy and how much of it is a unit; no other does",
    Verdict.OTHER_RULES: "the asset was created with other rules; they do not change",
    Verdict.UNKNOWN_HOLD: "nothing of that kind is open under this id; it was taken, went back, or never was",
    Verdict.NOT_FOR_YOU: "it is not for this member to do",
    Verdict.SAME_ASSET: "an exchange is of two different assets",
    Verdict.END_NOT_AHEAD: "its end is not ahead, or too far ahead",
    Verdict.TOO_MANY_HOLDS: "the member has committed too many amounts at a time",
    Verdict.NOT_CASHIER: "only the cashier whom the asset names may do this",
    Verdict.REFERENCE_TAKEN: "this payment was accounted for before; it counts once",
    Verdict.NO_CASHIER: "the asset names no cashier",
    Verdict.TOO_MANY_ASSETS: "there are as many assets as the ledger keeps",
    Verdict.SETTLES_ALREADY: "another asset pays for settled periods already",
    Verdict.UNKNOWN_METER: "there is no such meter of this member",
    Verdict.UNKNOWN_CODE: "this version of the ledger knows no such source, carrier or kind of installation",
    Verdict.NOT_AS_METERED: "a storage says how much it gives back, and a plant what it makes energy from",
    Verdict.INSTALLED_ALREADY: "another installation of this kind is behind that meter already",
    Verdict.UNKNOWN_INSTALLATION: "there is no such installation",
    Verdict.NOT_NOW: "the installation is in no state from which it could get there",
    Verdict.TOO_MANY_INSTALLATIONS: "the member has as many installations as the register keeps",
    Verdict.NOT_CERTIFIED: "the member has no certificates for that much energy of that source",
    Verdict.TOO_MANY_CERTIFICATES: "more ranges of certificates than one step moves, or than their receiver keeps",
    Verdict.PERIOD_CLOSED: "that period is closed already",
    Verdict.UNKNOWN_FEED: "there is no such feed",
    Verdict.NOT_A_FEEDER: "only the members whom the feed names report to it",
    Verdict.VALUE_STALE: "the value is of a time too long ago",
    Verdict.VALUE_TOO_FAR: "the value is of a time too far ahead",
    Verdict.VALUE_IMPOSSIBLE: "the value is outside what the feed allows",
    Verdict.VALUE_AGREED: "enough feeders have agreed on the value of that time already; it stands",
    Verdict.VALUE_SAID: "the member has reported a value of that time already",
    Verdict.FEED_CONTRADICTS: "a feed needs no more feeders than it names, and bounds that fit one another and its use",
    Verdict.TOO_MANY_FEEDS: "there are as many feeds as the ledger keeps",
    Verdict.UNKNOWN_CONTRACT: "there is no such contract",
    Verdict.NOT_A_PARTY: "the member is no party to that contract, or not the one whose turn it is",
    Verdict.CONTRACT_SIGNED: "the contract is signed already",
    Verdict.CONTRACT_ENDED: "the contract has ended",
    Verdict.CONTRACT_TIMES: "a contract ends after it begins, and is not over when it is offered",
    Verdict.TOO_MANY_CONTRACTS: "the member has offered too many contracts",
}
