"""A node that has voted once begins an empty ledger only without the device key that voted, whoever votes today."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnode.store import Store, StoreError
from meshnode.store.place import mark_as_validator, microgrid_directory, was_validator
from meshnode.store.refounding import SET_ASIDE, refound
from meshnode.store.reservation import Trust
from protocols.cose import key_id_of
from protocols.records import ValidatorEntry
from tests.ledger.chain import Chain
from tests.protocols.village import device


def test_one_that_was_made_a_validator_later_loses_its_key_with_its_ledger(tmp_path: Path) -> None:
    chain = Chain(2, validators=(ValidatorEntry(device_key=device("anna").public),))
    chain.block()
    chain.store(tmp_path)
    place, bela = microgrid_directory(tmp_path, chain.chain_id), device("bela").public
    assert not was_validator(place)
    aside = refound(tmp_path, chain.chain_id, bela, "first")
    assert aside.exists()
    with Store.open(tmp_path, chain.chain_id) as store:
        assert store.places(key_id_of(bela)).trust()[0] is Trust.UNUSED, "a learner may"
    mark_as_validator(place)
    mark_as_validator(place)
    refound(tmp_path, chain.chain_id, bela, "second")
    with Store.open(tmp_path, chain.chain_id) as store:
        assert store.final_height() == 0
        assert store.places(key_id_of(bela)).trust() == (Trust.RETIRED, SET_ASIDE)


def test_the_only_validator_is_told_no(tmp_path: Path) -> None:
    chain = Chain(2, validators=(ValidatorEntry(device_key=device("anna").public),))
    chain.store(tmp_path)
    with pytest.raises(StoreError, match="the only one that votes"):
        refound(tmp_path, chain.chain_id, device("anna").public, "never")
