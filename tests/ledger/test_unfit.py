"""Unfit: whatever tree somebody proposes, the ledger goes on - it is fit to take the binding's place, or is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshnode.ledger.verdicts import Verdict
from meshnode.rules import rules_of, unfit
from tests.ledger.chain import Chain
from tests.ledger.governing import FOUNDED, MECHANISMS
from tests.zencode.strategies import bindings
from zencode.binding import Binding, BindingTreeError, decode, encode, same_fact, sorted_statements
from zencode.reader import read
from zencode.sentences import CATALOGUE_VERSION

CHAIN = Chain(binding=FOUNDED)
USUAL = read(FOUNDED)
EXPECTED = (Verdict.ACCEPTED, Verdict.BINDING_UNFIT, Verdict.OTHER_GROUND)


def judged(tree: bytes, catalogue: int = CATALOGUE_VERSION) -> Verdict:
    ground = CHAIN.machine.rules(CHAIN.now_s)
    verdict = unfit(tree, catalogue, MECHANISMS, ground, CHAIN.genesis)
    assert verdict in EXPECTED
    if verdict == Verdict.ACCEPTED:
        rules_of(tree, CHAIN.genesis.limits, CHAIN.mechanisms, CHAIN.genesis.zone_changes)
    return verdict


def together(one: Binding, other: Binding) -> Binding:
    """The first binding with whatever of the other does not contradict it."""
    facts = {}
    for statement in (*other.rules, *other.givens, *one.rules, *one.givens):
        facts[same_fact(statement)] = statement
    rules = [statement for statement in facts.values() if statement in (*one.rules, *other.rules)]
    givens = [statement for statement in facts.values() if statement in (*one.givens, *other.givens)]
    blocks = (*one.blocks, *other.blocks)
    return Binding(one.scenario, one.title, sorted_statements(rules), sorted_statements(givens), blocks)


@given(bindings(), st.integers(1, CATALOGUE_VERSION))
def test_any_binding_that_can_be_written_is_fit_or_refused(drawn: Binding, catalogue: int) -> None:
    judged(encode(drawn), catalogue)
    judged(encode(together(USUAL, drawn)), catalogue)


@given(st.binary(max_size=100), st.integers(0, 300))
def test_a_damaged_tree_is_fit_or_refused(noise: bytes, place: int) -> None:
    tree = encode(USUAL)
    for damaged in (noise, tree[:place] + noise + tree[place + len(noise) :]):
        verdict = judged(damaged)
        try:
            decode(damaged)
        except BindingTreeError:
            assert verdict == Verdict.BINDING_UNFIT


def test_the_usual_binding_is_fit() -> None:
    assert judged(encode(USUAL)) == Verdict.ACCEPTED
