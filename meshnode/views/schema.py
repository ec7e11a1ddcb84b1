"""Schema: the tables of views.sqlite, and the file's version.

Accounts stand as small numbers: a posting has two of them, and a ledger of a few homes
has half a million postings a year. A record's place is height * 4096 + position, its
natural order; ids are found by their first eight bytes, which are as good as the whole.
"""

from __future__ import annotations

from protocols.records.genesis import MAX_BLOCK_RECORDS

VERSION = 6
"""Raised with every change of these tables or of what is written to them; an older file is rebuilt."""

COUNTED = ("readings", "orders", "trades")
"""Tables whose rows are counted as they come: SQLite would read a table whole to count it."""

STATES = ("open", "cancelled", "closed")
OPEN, CANCELLED, CLOSED = range(3)

TABLES = """
CREATE TABLE reflects (one INTEGER PRIMARY KEY CHECK (one = 1), chain BLOB NOT NULL, height INTEGER NOT NULL) STRICT;
CREATE TABLE counts (counted TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    number INTEGER PRIMARY KEY, account BLOB NOT NULL UNIQUE, name TEXT NOT NULL, left_s INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE keys (key_id BLOB PRIMARY KEY, account INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    height INTEGER PRIMARY KEY, block_hash BLOB NOT NULL, time_s INTEGER NOT NULL, term INTEGER NOT NULL,
    leader BLOB NOT NULL, records INTEGER NOT NULL, accepted INTEGER NOT NULL, size_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE records (
    place INTEGER PRIMARY KEY, record_id BLOB NOT NULL, kind TEXT NOT NULL, account INTEGER,
    verdict INTEGER NOT NULL, summary BLOB NOT NULL
) STRICT;
CREATE INDEX records_by_id ON records (substr(record_id, 1, 8));

CREATE TABLE readings (
    meter BLOB NOT NULL, start_s INTEGER NOT NULL, account INTEGER NOT NULL,
    import_wh INTEGER NOT NULL, export_wh INTEGER NOT NULL, produced_wh INTEGER, power_w INTEGER,
    version INTEGER NOT NULL, quality INTEGER NOT NULL, PRIMARY KEY (meter, start_s)
) STRICT, WITHOUT ROWID;

CREATE TABLE periods (
    start_s INTEGER PRIMARY KEY, length_s INTEGER NOT NULL, height INTEGER NOT NULL, price_u_kwh INTEGER,
    completeness_ppm INTEGER NOT NULL, final INTEGER NOT NULL DEFAULT 0, corrections INTEGER NOT NULL DEFAULT 0,
    traded_wh INTEGER NOT NULL
) STRICT;
CREATE TABLE lines (
    start_s INTEGER NOT NULL, account INTEGER NOT NULL, own_wh INTEGER NOT NULL, neighbours_wh INTEGER NOT NULL,
    grid_wh INTEGER NOT NULL, consumption_wh INTEGER NOT NULL, sold_wh INTEGER NOT NULL, fed_in_wh INTEGER NOT NULL,
    in_u INTEGER NOT NULL, out_u INTEGER NOT NULL, import_wh INTEGER NOT NULL, export_wh INTEGER NOT NULL,
    produced_wh INTEGER, quality INTEGER NOT NULL, PRIMARY KEY (start_s, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE trades (
    start_s INTEGER NOT NULL, number INTEGER NOT NULL, buyer INTEGER NOT NULL, seller INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL, delivered_wh INTEGER NOT NULL, price_u_kwh INTEGER NOT NULL,
    buy_order BLOB NOT NULL, sell_order BLOB NOT NULL, PRIMARY KEY (start_s, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
    place INTEGER PRIMARY KEY, account INTEGER NOT NULL, side INTEGER NOT NULL, start_s INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL, price_u_kwh INTEGER NOT NULL, filled_wh INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX orders_of_account ON orders (account, place);
CREATE INDEX orders_open ON orders (start_s) WHERE state = 0;
CREATE TABLE postings (
    number INTEGER PRIMARY KEY, start_s INTEGER NOT NULL, height INTEGER NOT NULL, debit INTEGER NOT NULL,
    credit INTEGER NOT NULL, asset TEXT NOT NULL, amount_u INTEGER NOT NULL, energy_wh INTEGER NOT NULL,
    price_u_kwh INTEGER NOT NULL, reason INTEGER NOT NULL, entry INTEGER NOT NULL, trade INTEGER
) STRICT;
CREATE INDEX postings_paid ON postings (debit, number);
CREATE INDEX postings_received ON postings (credit, number);
CREATE INDEX postings_of_period ON postings (start_s, number);
CREATE TABLE movements (
    number INTEGER PRIMARY KEY, height INTEGER NOT NULL, time_s INTEGER NOT NULL, what INTEGER NOT NULL,
    giver INTEGER, taker INTEGER, asset TEXT NOT NULL, amount INTEGER NOT NULL,
    memo BLOB NOT NULL, nonce INTEGER NOT NULL, reference TEXT NOT NULL
) STRICT;
CREATE INDEX movements_given ON movements (giver, number);
CREATE INDEX movements_taken ON movements (taker, number);
CREATE TABLE notes (
    place INTEGER PRIMARY KEY, memo BLOB NOT NULL, nonce INTEGER NOT NULL, reference TEXT NOT NULL
) STRICT;
CREATE TABLE pairs (
    start_s INTEGER NOT NULL, account INTEGER NOT NULL, entry INTEGER NOT NULL, height INTEGER NOT NULL,
    pair_id BLOB NOT NULL, import_wh INTEGER NOT NULL, export_wh INTEGER NOT NULL, produced_wh INTEGER NOT NULL,
    amount_u INTEGER NOT NULL, paid_u INTEGER NOT NULL, minted BLOB NOT NULL, PRIMARY KEY (start_s, account, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE billing_periods (
    first_s INTEGER NOT NULL, account INTEGER NOT NULL, until_s INTEGER NOT NULL, entry INTEGER NOT NULL,
    height INTEGER NOT NULL, billing_id BLOB NOT NULL, bought_wh INTEGER NOT NULL, bought_u INTEGER NOT NULL,
    surplus_wh INTEGER NOT NULL, surplus_u INTEGER NOT NULL, compensated_u INTEGER NOT NULL, lost_u INTEGER NOT NULL,
    incentive_u INTEGER NOT NULL, final INTEGER NOT NULL, PRIMARY KEY (first_s, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE shared_hours (
    hour_s INTEGER NOT NULL, substation TEXT NOT NULL, injected_wh INTEGER NOT NULL, withdrawn_wh INTEGER NOT NULL,
    shared_wh INTEGER NOT NULL, incentive_u INTEGER NOT NULL, parts BLOB NOT NULL, PRIMARY KEY (hour_s, substation)
) STRICT, WITHOUT ROWID;
CREATE TABLE contracts (
    place INTEGER PRIMARY KEY, offered_by INTEGER NOT NULL, offered_to INTEGER NOT NULL,
    status INTEGER NOT NULL, until_s INTEGER NOT NULL
) STRICT;
CREATE INDEX contracts_offered ON contracts (offered_by, place);
CREATE INDEX contracts_received ON contracts (offered_to, place);
CREATE TABLE origins (
    start_s INTEGER NOT NULL, account INTEGER NOT NULL, carrier INTEGER NOT NULL, shares BLOB NOT NULL,
    PRIMARY KEY (start_s, account, carrier)
) STRICT, WITHOUT ROWID;
CREATE TABLE certificates (
    number INTEGER PRIMARY KEY, height INTEGER NOT NULL, time_s INTEGER NOT NULL, change INTEGER NOT NULL,
    owner INTEGER NOT NULL, taker INTEGER, wh INTEGER NOT NULL, purpose TEXT NOT NULL, ranges BLOB NOT NULL
) STRICT;
CREATE INDEX certificates_given ON certificates (owner, number);
CREATE INDEX certificates_taken ON certificates (taker, number);
"""


def place_of(height: int, position: int) -> int:
    """Where a record stands, as one number that sorts by height and position."""
    return height * MAX_BLOCK_RECORDS + position


def height_of(place: int) -> int:
    """The height of a place."""
    return place // MAX_BLOCK_RECORDS


def position_of(place: int) -> int:
    """The position of a place in its block."""
    return place % MAX_BLOCK_RECORDS
