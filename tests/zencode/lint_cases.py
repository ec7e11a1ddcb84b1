"""Lint cases: what is changed in a preset, and what is found then, of the sentences of version 2."""

from __future__ import annotations

from zencode.presets import preset

VILLAGE, MARKET = preset("mid_market_village"), preset("neighbour_market")
SPAIN, YARD, ISLAND = preset("spanish_self_consumption"), preset("charging_yard"), preset("island_order_book")

_GIVEN = "And there is a role 'admin'\n"
_LEAVE = "When a member leaves\n"
_SHARE = "Then share production at the mid-market rate\n"
_COIN = "And the asset 'SUN' is 'utility' and at most 1000000 of it exist\n"
_DAY = "And the band 'day' runs from 08:00 to 20:00\n"
_ORDER = "When a member places an order\n"
_MANY = "If the shared energy is above 100 % of the injected energy\n"
_IN_ROUNDS = SPAIN.replace(
    "by fixed allocation shares\nAnd offer unused shares again in proportion to use\n",
    "by allocation shares in rounds\n",
)
_CLOSES = "When a settlement period closes\n"


def _given(text: str) -> tuple[str, str, str]:
    return VILLAGE, _GIVEN, _GIVEN + text


def _block(text: str, given: str = "") -> tuple[str, str, str]:
    base = VILLAGE.replace(_GIVEN, _GIVEN + given)
    return base, _LEAVE, text + _LEAVE


def _action(text: str) -> tuple[str, str, str]:
    return MARKET, "And refuse orders larger than 20 kWh\n", "And refuse orders larger than 20 kWh\n" + text


#: (text, what to replace, with what, level, name, part of the reason)
NEW_CASES = [
    # Shares, ranks and keys.
    (
        _IN_ROUNDS,
        "share of 25 %",
        "share of 5 %",
        "error",
        "shares",
        "80 %",
    ),
    (
        SPAIN,
        "And there is a role 'administrador'\n",
        "And there is a role 'administrador'\n" + _DAY + "And 'a' has an allocation share of 60 % in the band 'day'\n",
        *("error", "shares", "in the band 'day' add up to 60 %"),
    ),
    (
        VILLAGE,
        "at the mid-market rate",
        "by the key 'Austria static'",
        "error",
        "shares",
        "share of every member",
    ),
    (VILLAGE, "at the mid-market rate", "by rank", "error", "ranks", "needs the rank"),
    (VILLAGE, "at the mid-market rate", "by the key 'Luxembourg priority'", "error", "ranks", "needs the rank"),
    (*_given("And 'a' has rank 1 in sharing\n"), "warning", "ranks", "nothing is shared by them"),
    (VILLAGE, "at the mid-market rate", "by the key 'Italy'", "warning", "key-period", "periods of 60 minutes"),
    (
        VILLAGE,
        _SHARE,
        "Then share production in equal parts\nAnd offer unused shares again in proportion to use\n",
        "warning",
        "nothing-to-reoffer",
        "by fixed allocation shares",
    ),
    # Prices.
    (*_given("And shared energy costs 0.15 EUR/kWh\n"), "warning", "shared-price", "makes its own price"),
    (
        MARKET,
        _GIVEN,
        _GIVEN + "And the law allows prices up to 0.05 EUR/kWh\n",
        "error",
        "no-legal-price",
        "highest that the law allows",
    ),
    (
        MARKET,
        _GIVEN,
        _GIVEN + "And the law allows prices down to 0.30 EUR/kWh\n",
        "error",
        "no-legal-price",
        "lowest that the law allows",
    ),
    (
        MARKET,
        _GIVEN,
        _GIVEN + "And the law allows prices up to 0.20 EUR/kWh from 2027-01-01\n",
        "warning",
        "cap-above-law",
        "the law holds",
    ),
    (*_action("And refuse orders smaller than 21 kWh\n"), "error", "no-order-fits", "no order could be given"),
    (
        *_given("And the grid fee between members who share 1 levels of the grid is 0.02 EUR/kWh\n"),
        *("error", "grid-fees", "share 0 levels is not given"),
    ),
    (
        *_given(
            "And the grid fee between members who share 0 levels of the grid is 0.02 EUR/kWh\n"
            "And the grid fee between members who share 1 levels of the grid is 0.03 EUR/kWh\n"
        ),
        *("error", "grid-fees", "closer neighbours would pay more"),
    ),
    (*_given("And 'anna' has value added tax category 'S'\n"), "error", "vat-rate", "category 'S' is not given"),
    (
        VILLAGE,
        _SHARE,
        _SHARE + "And raise a levy of 0.01 EUR/kWh on 'solar energy' for 'community fund'\n",
        "error",
        "levy-base",
        "is not metered for it",
    ),
    (
        ISLAND,
        "And hold a deposit of 50 EUR\n",
        "And hold a deposit of 50 EUR\nAnd set a credit limit of 60 EUR\n",
        "warning",
        "limit-above-deposit",
        "the community's risk",
    ),
    # Blocks.
    (*_action("And refuse the order\n"), "error", "refuses-all", "every order is refused"),
    (
        VILLAGE,
        _LEAVE,
        f"{_CLOSES}If the member has the role 'admin'\nThen show amounts and move no money\nEndIf\n{_LEAVE}",
        "error",
        "for-all",
        "holds for all members",
    ),
    (
        MARKET,
        _LEAVE,
        "When a member places an order\nIf the grid price is above 0.30 EUR/kWh\nAnd the grid price is below 0.20"
        f" EUR/kWh\nThen refuse the order\nEndIf\n{_LEAVE}",
        "error",
        "excluded",
        "exclude one another",
    ),
    (
        MARKET,
        _LEAVE,
        f"{_ORDER}If the order sells\nAnd the order buys\nThen refuse the order\nEndIf\n{_LEAVE}",
        "error",
        "excluded",
        "both sells and buys",
    ),
    (
        VILLAGE,
        _LEAVE,
        f"{_CLOSES}{_MANY}Then serve 'admin' first\nEndIf\n{_LEAVE}",
        "error",
        "excluded",
        "above 100 %",
    ),
    (*_block("When the grid is lost\nThen warn 'admin'\n"), "error", "never-happens", "no feed tells"),
    (
        *_block(
            "When the grid is lost\nThen serve critical loads first\n",
            "And the feed 'grid' tells whether the grid is there\n",
        ),
        *("warning", "no-critical-load", "none is served first"),
    ),
    # Names.
    (*_given("And grid energy costs 0.40 EUR/kWh in the band 'peak'\n"), "error", "unknown-band", "band 'peak'"),
    (*_given("And the battery 'B' gives back 90 % of what it takes in\n"), "error", "unknown-battery", "battery 'B'"),
    (*_given("And 'coop' issues the asset 'SUN'\n"), "error", "unknown-asset", "asset 'SUN'"),
    (*_block("When the feeder 'F' loses more than 5 %\nThen warn 'admin'\n"), "error", "unknown-feeder", "feeder 'F'"),
    (*_given("And 'B' is measured by the meter 'a1'\n"), "error", "unknown-device", "no plant, battery or charging"),
    (
        YARD,
        "And there is a role 'fleet'\n",
        "And there is a role 'fleet'\nAnd the charging point 'bay 2' has 22 kW and belongs to 'Depot Ltd'\n",
        "warning",
        "unknown-point",
        "charging point 'bay 1'",
    ),
    (
        VILLAGE,
        "Rule rounding",
        "Rule the role 'nobody' may pause matching for at most 1 day\nRule rounding",
        "warning",
        "unknown-role",
        "role 'nobody'",
    ),
    (
        *_given(
            "And the band 'day' runs from 08:00 to 20:00\nAnd the band 'day' runs from 06:00 to 07:00 on 'Sunday'\n"
        ),
        *("error", "band-twice", "on every day already"),
    ),
    # Assets.
    (
        VILLAGE.replace(_GIVEN, _GIVEN + _COIN),
        _SHARE,
        _SHARE + "And pay debts with the asset 'SUN'\n",
        "error",
        "sort-of-asset",
        "is no money",
    ),
    (
        *_block(
            "When a member injects energy\nThen mint one unit of 'SUN' for each 1 kWh\n",
            _COIN + "And 'coop' issues the asset 'SUN'\n",
        ),
        *("error", "two-sources", "only one can make it"),
    ),
    (
        *_block(
            "When somebody redeems the asset 'SUN'\nThen burn one unit of 'MOON' for each 1 kWh delivered\n",
            _COIN + _COIN.replace("SUN", "MOON"),
        ),
        *("error", "other-asset", "'MOON' would be destroyed"),
    ),
    (
        *_block(
            "When a member injects energy\nThen mint one unit of 'SUN' for each 1 kWh\n"
            "When somebody redeems the asset 'SUN'\nThen burn one unit of 'SUN' for each 2 kWh delivered\n",
            _COIN,
        ),
        *("warning", "uneven-units", "destroyed for another"),
    ),
    # Views, votes and versions.
    (
        VILLAGE,
        "And let 'prosumer' see 'readings'\nAnd let 'admin' see 'monthly totals'\n",
        "",
        "warning",
        "nobody-sees",
        "no one could check it",
    ),
    (
        VILLAGE,
        "And let 'prosumer' see 'readings'\n",
        "And let 'prosumer' see 'readings'\nAnd publish 'readings' of at least 5 members\n",
        "error",
        "published-person",
        "only sums of many",
    ),
    (
        *_block("When a vote opens\nThen count the vote only if 50 % of members take part\n"),
        *("warning", "endless-vote", "when a vote closes"),
    ),
    (
        VILLAGE.replace("Rule rounding", "Rule catalogue version 1\nRule rounding"),
        "at the mid-market rate",
        "in equal parts",
        "error",
        "older-catalogue",
        "need version 2",
    ),
]
