"""Sharing: what one period generated, divided among those who consume in it.

One allocator carries out every rule. A rule is a list of rounds; each round hands out what the
rounds before left over, by one of four keys, and nobody ever gets more than it consumed. What
no round hands out is surplus. The rules that countries and grid operators name stand in
`meshnode.settlement.sharing_modes`; prices and postings in `meshnode.settlement.period`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PPM, split

RANK_MAX: Final = 1_000_000
"""The last rank of a priority; far more than a community has members, and small in every format."""


class SharingError(ValueError):
    """What cannot be shared out; `faults` has every reason, one sentence each."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Key(enum.Enum):
    """How one round divides what is left."""

    STATIC = "static"
    """By weight, also to those who cannot use it: what somebody's part exceeds its need stays in the pot.
    In a second round only those who still need something have a part."""
    PRO_RATA = "pro rata"
    """In proportion to what each still needs."""
    PRIORITY = "priority"
    """By rank, the lowest first, each whole before the next; equal ranks in proportion to need."""
    WATERFILL = "waterfill"
    """By weight, and what exceeds somebody's need goes to the others by their weights, until the pot
    is empty or nobody with a weight needs more."""


class Weighing(enum.Enum):
    """What weights a rule is given, for each period anew."""

    NONE = "no weights"
    EQUAL = "everybody alike"
    SHARES = "shares in ppm that add up to a million"
    RANKS = "ranks, the lowest first"


class Rule(msgspec.Struct, frozen=True):
    """How energy is shared.

    Fields:
        rounds: the keys, one after the other.
        weighing: what the weights mean.
        own_surplus: what a member's share exceeds its consumption is that member's surplus, not
            the generators'; only with the one round STATIC.
        by_source: each source has shares of its own (`allocate_by_source`); only with the
            one round STATIC.
    """

    rounds: tuple[Key, ...]
    weighing: Weighing = Weighing.NONE
    own_surplus: bool = False
    by_source: bool = False


class Allocation(msgspec.Struct, frozen=True):
    """One period, shared out. All are Wh by account, in account id order.

    Fields:
        taken_wh: what each consumer gets; at most its consumption.
        given_wh: what each source gives to others.
        surplus_wh: what nobody used: by source, or by holder of the share where the rule says so.

    Invariants: sum(taken) = sum(given); sum(taken) + sum(surplus) = generated;
    taken_i + given_i <= sum(taken), which says that nobody is his own neighbour.
    """

    taken_wh: dict[bytes, int]
    given_wh: dict[bytes, int]
    surplus_wh: dict[bytes, int]


def allocate(
    rule: Rule,
    consumed_wh: Mapping[bytes, int],
    generated_wh: Mapping[bytes, int],
    weights: Mapping[bytes, int] | None = None,
) -> Allocation:
    """Share out one period.

    A source may consume too (a meter can count both ways in one period), but nobody is his own
    neighbour: what it takes comes from others. The sources give in proportion to
    what they generated, as far as that rule lets them.

    Every division is the splitter's, so parts add up to the whole and the order of the
    arguments does not matter. Under a rule of one round nobody gets less when more is
    generated, but for 1 Wh that the splitter's largest remainder may move elsewhere.

    Args:
        rule: how; not one by source.
        consumed_wh: Wh by member, 0 or more; every member that takes part.
        generated_wh: Wh by source, 0 or more.
        weights: of this period: shares in ppm or ranks by account, as the rule weighs. Somebody
            without a share has none; a share of somebody who is not a member is surplus.
    Raises:
        SharingError: energies below zero, or weights that do not fit the rule.
    """
    weights = weights or {}
    found = (*_faults_of_energies(consumed_wh, generated_wh), *faults_of_weights(rule, consumed_wh, weights))
    if rule.by_source:
        found = (*found, "this rule has shares of each source: expected one set of shares for each of them")
    if found:
        raise SharingError(found)
    if rule.weighing is Weighing.EQUAL:
        weights = dict.fromkeys(consumed_wh, 1)
    pot_wh = sum(generated_wh.values())
    limits_wh = {one: min(wh, pot_wh - generated_wh.get(one, 0)) for one, wh in consumed_wh.items()}
    taken_wh = dict.fromkeys(sorted(consumed_wh), 0)
    left_wh = pot_wh
    for number, key in enumerate(rule.rounds):
        needs_wh = {one: wh - taken_wh[one] for one, wh in consumed_wh.items()}
        room_wh = {one: wh - taken_wh[one] for one, wh in limits_wh.items()}
        for one, part_wh in _round(key, number, left_wh, needs_wh, room_wh, weights).items():
            taken_wh[one] += part_wh
            left_wh -= part_wh
    given_wh = _given(taken_wh, generated_wh)
    if rule.own_surplus:
        entitled_wh = _by_weight(pot_wh, weights)
        surplus_wh = {one: wh - taken_wh.get(one, 0) for one, wh in entitled_wh.items()}
    else:
        surplus_wh = {one: generated_wh[one] - wh for one, wh in given_wh.items()}
    return Allocation(taken_wh, given_wh, surplus_wh)


def allocate_by_source(
    consumed_wh: Mapping[bytes, int],
    generated_wh: Mapping[bytes, int],
    weights: Mapping[bytes, Mapping[bytes, int]],
) -> Allocation:
    """Share out one period where each source has shares of its own.

    Each source is divided by its shares. Whoever would get more than it consumed
    gives back to the sources in proportion to what each would have given it.

    Args:
        consumed_wh, generated_wh: as for `allocate`.
        weights: of each source that generated: shares in ppm by account, together a million.
            Its share of itself goes to nobody.
    Raises:
        SharingError: energies below zero, or shares that do not add up.
    """
    faults = list(_faults_of_energies(consumed_wh, generated_wh))
    for source, energy_wh in generated_wh.items():
        if energy_wh or source in weights:
            rule = Rule((Key.STATIC,), Weighing.SHARES)
            faults += [f"source {source.hex()}: {one}" for one in faults_of_weights(rule, {}, weights.get(source, {}))]
    if faults:
        raise SharingError(tuple(faults))
    offers_wh: dict[bytes, dict[bytes, int]] = {one: {} for one in sorted(consumed_wh)}
    for source, energy_wh in sorted(generated_wh.items()):
        for one, part_wh in _by_weight(energy_wh, weights.get(source, {})).items():
            if one in offers_wh and one != source:
                offers_wh[one][source] = part_wh
    taken_wh: dict[bytes, int] = {}
    given_wh = dict.fromkeys(sorted(generated_wh), 0)
    for one, offered_wh in offers_wh.items():
        taken_wh[one] = min(consumed_wh[one], sum(offered_wh.values()))
        for source, part_wh in split(taken_wh[one], offered_wh.items()).items():
            given_wh[source] += part_wh
    return Allocation(taken_wh, given_wh, {one: generated_wh[one] - wh for one, wh in given_wh.items()})


def fill(pot_wh: int, weights: Mapping[bytes, int], limits_wh: Mapping[bytes, int]) -> dict[bytes, int]:
    """Divide by weight; who would get more than its limit gets the limit, and the others divide the rest.

    The parts add up to the pot, or to all limits (of those with a weight) where the pot is
    larger. Those without a weight get nothing and are left out.

    Source: weighted max-min fairness by progressive filling, Bertsekas and Gallager, "Data Networks",
        section 6.5.2.
    """
    parts_wh: dict[bytes, int] = {}
    open_weights = {one: weight for one, weight in weights.items() if weight}
    while open_weights:
        offered_wh = split(pot_wh, open_weights.items())
        over = [one for one, part_wh in offered_wh.items() if part_wh > limits_wh[one]]
        if not over:
            return parts_wh | offered_wh
        for one in over:
            parts_wh[one] = limits_wh[one]
            pot_wh -= limits_wh[one]
            del open_weights[one]
    return parts_wh


def faults_of_weights(rule: Rule, members: Mapping[bytes, int], weights: Mapping[bytes, int]) -> tuple[str, ...]:
    """What is wrong with the weights of a period, one sentence each; empty if they fit the rule."""
    if rule.weighing in (Weighing.NONE, Weighing.EQUAL):
        return ("weights are given, and this way of sharing takes none",) if weights else ()
    if rule.weighing is Weighing.RANKS:
        wrong = [f"rank of {one.hex()} is {w}, expected 0 to {RANK_MAX}" for one, w in sorted(weights.items())
                 if not 0 <= w <= RANK_MAX]  # fmt: skip
        missing = [f"{one.hex()} has no rank; give everybody one" for one in sorted(members) if one not in weights]
        return (*wrong, *missing)
    wrong = [f"share of {one.hex()} is {w} ppm, expected 0 to {PPM}" for one, w in sorted(weights.items())
             if not 0 <= w <= PPM]  # fmt: skip
    whole = sum(weights.values())
    if whole != PPM:
        wrong.append(f"the shares add up to {whole} ppm, expected {PPM}; production is shared only at 100 %")
    return tuple(wrong)


def _faults_of_energies(consumed_wh: Mapping[bytes, int], generated_wh: Mapping[bytes, int]) -> tuple[str, ...]:
    return tuple(
        f"{what} of {one.hex()} is {wh} Wh, expected 0 to {ENERGY_MAX_WH}"
        for what, energies in (("consumption", consumed_wh), ("generation", generated_wh))
        for one, wh in sorted((one, wh) for one, wh in energies.items() if not 0 <= wh <= ENERGY_MAX_WH)
    )


def _round(
    key: Key,
    number: int,
    left_wh: int,
    needs_wh: Mapping[bytes, int],
    room_wh: Mapping[bytes, int],
    weights: Mapping[bytes, int],
) -> dict[bytes, int]:
    """One round: who gets how much of what is left; `room_wh` is what of its need the others can meet."""
    if key is Key.PRO_RATA:
        return fill(left_wh, needs_wh, room_wh)
    if key is Key.PRIORITY:
        return _by_rank(left_wh, needs_wh, room_wh, weights)
    if key is Key.WATERFILL:
        return fill(left_wh, {one: weights.get(one, 0) for one in room_wh}, room_wh)
    holders = weights if number == 0 else {one: weights.get(one, 0) for one, wh in room_wh.items() if wh}
    parts_wh = _by_weight(left_wh, holders)
    return {one: min(part_wh, room_wh[one]) for one, part_wh in parts_wh.items() if one in room_wh}


def _by_weight(pot_wh: int, weights: Mapping[bytes, int]) -> dict[bytes, int]:
    """Parts in proportion to weights; nothing where nobody has one."""
    return split(pot_wh, weights.items()) if any(weights.values()) else {}


def _by_rank(
    left_wh: int, needs_wh: Mapping[bytes, int], room_wh: Mapping[bytes, int], ranks: Mapping[bytes, int]
) -> dict[bytes, int]:
    classes: dict[int, dict[bytes, int]] = {}
    for one, need_wh in needs_wh.items():
        classes.setdefault(ranks[one], {})[one] = need_wh
    parts_wh: dict[bytes, int] = {}
    for _, members in sorted(classes.items()):
        served_wh = fill(left_wh, members, room_wh)
        left_wh -= sum(served_wh.values())
        parts_wh |= served_wh
    return parts_wh


def _given(taken_wh: Mapping[bytes, int], generated_wh: Mapping[bytes, int]) -> dict[bytes, int]:
    """Who gives what was taken: in proportion to generation, but nobody to himself.

    What a source takes comes from others, so it gives at most what the others take. That always
    suffices: taken_i <= generation of the others was the limit when it was shared out.
    """
    total_wh = sum(taken_wh.values())
    limits_wh = {one: min(wh, total_wh - taken_wh.get(one, 0)) for one, wh in generated_wh.items()}
    return dict.fromkeys(sorted(generated_wh), 0) | fill(total_wh, generated_wh, limits_wh)
