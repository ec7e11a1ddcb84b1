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
    PRICE_OFF_TICK = 90
    TERMS_CONTRADICT = 91
    NOT_FILLED = 92
    TOO_MANY_STANDING = 93
    NOT_UNDER_CONTRACT = 94
    BEYOND_SERVICE_LEVEL = 95
    OTHER_TERMS = 96
    UNKNOWN_STEP = 97
    TOO_MANY_STEPS = 98
    UNKNOWN_TRADE = 99
    REVERSAL_ASKED = 100
    UNKNOWN_AUCTION = 101
    AUCTION_OVER = 102
    BID_TOO_WEAK = 103
    ATTRIBUTE_MISSING = 104
    OTHER_LOT = 105
    UNKNOWN_POINT = 120
    OTHER_POINT_TERMS = 121
    POINT_BUSY = 122
    UNKNOWN_DELIVERY = 123
    DELIVERY_OVER = 124
    NOT_BEGUN = 125
    BEGUN_ALREADY = 126
    COUNTER_BACK = 127
    OLD_TICK = 128
    TICK_TOO_SOON = 129
    UNKNOWN_CREDENTIAL = 130
    CREDENTIAL_TAKEN = 131
    OVER_LIMIT = 132
    NO_ACCESS = 133
    NO_ROOM = 134
    NOT_STORED = 135
    NOTHING_RELEASED = 136
    NOT_OWN_BATTERY = 137
    TOO_MANY_CREDENTIALS = 138
    NOT_WHAT_COUNTED = 139
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
    BACKWARDS = 170
    OVER_CREDIT = 171
    IN_ARREARS = 172
    FEES_OWED = 173
    NOT_SUPPLIER = 174
    PARAMETER_CONTRADICTS = 175
    TOO_MANY_CHANGES = 176
    NO_DEPOSIT_TO = 177
    TARGETS_CONTRADICT = 180
    TOO_MANY_AGENTS = 181
    NO_AGENT = 182
    NO_PREFERENCE = 183
    TOO_MANY_PREFERENCES = 184
    STORED_PAYS = 185
    DRIVEN_ALREADY = 190
    FUND_NOT_EMPTY = 191
    NOT_CORRECTED = 192


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
    Verdict.PRICE_OFF_TICK: "a price is a whole number of the paying asset's units for each unit, at least one",
    Verdict.TERMS_CONTRADICT: "it names no period, a partner with a price, and an expiry only if it may rest",
    Verdict.NOT_FILLED: "nobody took the other side at once; nothing was traded",
    Verdict.TOO_MANY_STANDING: "the member, or the book, has too many orders resting",
    Verdict.NOT_UNDER_CONTRACT: "the contract that it names is not signed, does not hold now, or is with others",
    Verdict.BEYOND_SERVICE_LEVEL: "the contract that the order names, or the member's supplier, does not allow it",
    Verdict.OTHER_TERMS: "it is not what the step before it committed to",
    Verdict.UNKNOWN_STEP: "there is no such step of this member, or it has been used",
    Verdict.TOO_MANY_STEPS: "the member has committed to too many orders that never came",
    Verdict.UNKNOWN_TRADE: "there is no such trade of this member, it is settled, or it was reversed",
    Verdict.REVERSAL_ASKED: "this party has asked for the reversal already; the other one has not",
    Verdict.UNKNOWN_AUCTION: "there is no such auction; it has closed, or never was",
    Verdict.AUCTION_OVER: "the auction takes no bids any more",
    Verdict.BID_TOO_WEAK: "it does not reach what the auction asks for, or does not beat what stands",
    Verdict.ATTRIBUTE_MISSING: "it does not say of the energy what the auction asks for",
    Verdict.OTHER_LOT: "a bid of a rising auction is for the whole lot",
    Verdict.UNKNOWN_POINT: "there is no such point, or nothing is reserved there any more",
    Verdict.OTHER_POINT_TERMS: "the point's terms are others now, or not of that kind",
    Verdict.POINT_BUSY: "something else is reserved at that point, or under way",
    Verdict.UNKNOWN_DELIVERY: "there is no such session or redemption, or it was long ago",
    Verdict.DELIVERY_OVER: "the session or redemption is over",
    Verdict.NOT_BEGUN: "it has not begun yet",
    Verdict.BEGUN_ALREADY: "it has begun already; its meter ends it",
    Verdict.COUNTER_BACK: "the meter's counter would run backwards",
    Verdict.OLD_TICK: "a newer tick of the meter is on the ledger",
    Verdict.TICK_TOO_SOON: "the ledger takes a tick a minute; the last one always counts",
    Verdict.UNKNOWN_CREDENTIAL: "that token or key is not known there, or its consent does not hold",
    Verdict.CREDENTIAL_TAKEN: "somebody is known by that token or key already",
    Verdict.OVER_LIMIT: "it would cost more than whoever pays has allowed",
    Verdict.NO_ACCESS: "who stores energy here must have the access asset",
    Verdict.NO_ROOM: "who would get it has no room: as much stored as it may, or bound to get it",
    Verdict.NOT_STORED: "that asset is not stored energy, or not of this meter, or cannot become it",
    Verdict.NOTHING_RELEASED: "the coins only pay for what was delivered before; send more",
    Verdict.NOT_OWN_BATTERY: "that battery delivers to its owner alone",
    Verdict.TOO_MANY_CREDENTIALS: "the member is known by too many tokens and keys",
    Verdict.NOT_WHAT_COUNTED: "the parts do not add up to what the storage's registers have counted",
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
    Verdict.BACKWARDS: "it would take effect in a settlement period that has begun; it is set ahead, never backwards",
    Verdict.OVER_CREDIT: "the member would owe and have promised more than its money and its credit limit",
    Verdict.IN_ARREARS: "the member owes fees; old debts come before new ones",
    Verdict.FEES_OWED: "somebody still owes storage fees in that asset",
    Verdict.NOT_SUPPLIER: "only an administrator, or a supplier under a signed contract with the member, may do this",
    Verdict.PARAMETER_CONTRADICTS: "the parameter contradicts itself, or is of a kind that this version does not know",
    Verdict.TOO_MANY_CHANGES: "as many changes of it are announced already as the ledger keeps",
    Verdict.NO_DEPOSIT_TO: "a deposit is left with an administrator, or with a supplier under a signed contract",
    Verdict.TARGETS_CONTRADICT: "an agent needs low < target < high, and no more than the member may have",
    Verdict.TOO_MANY_AGENTS: "the member has agents for too many assets",
    Verdict.NO_AGENT: "the member has no agent for that asset",
    Verdict.NO_PREFERENCE: "the member prefers nobody there",
    Verdict.TOO_MANY_PREFERENCES: "the member has stated too many preferences",
    Verdict.STORED_PAYS: "stored energy is bought and sold; it pays for nothing",
    Verdict.DRIVEN_ALREADY: "another feed says that price already",
    Verdict.FUND_NOT_EMPTY: "the fund for first access has money; it buys what it was promised for before that changes",
    Verdict.NOT_CORRECTED: "no reading of that period was corrected, or it is long past, or more is said with it",
}
