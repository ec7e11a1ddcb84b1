"""A node that has voted once never begins an empty ledger, whoever votes today."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnode.store import Store, StoreError
from meshnode.store.place import mark_as_validator, microgrid_directory, was_validator
from meshnode.store.refounding import refound
from protocols.records import ValidatorEntry
from tests.ledger.chain import Chain
from tests.protocols.village import device


def test_one_that_was_made_a_validator_later_is_told_no(tmp_path: Path) -> None:
    chain = Chain(2, validators=(ValidatorEntry(device_key=device("anna").public),))
    chain.block()
    chain.store(tmp_path)
    place, bela = microgrid_directory(tmp_path, chain.chain_id), device("bela").public
    assert not was_validator(place)
    aside = refound(tmp_path, chain.chain_id, bela, "first")
    assert aside.exists(), "a learner may"
    mark_as_validator(place)
    mark_as_validator(place)
    with pytest.raises(StoreError, match="one of those that vote, or did"):
        refound(tmp_path, chain.chain_id, bela, "second")
    with Store.open(tmp_path, chain.chain_id) as store:
        assert store.final_height() == 0
