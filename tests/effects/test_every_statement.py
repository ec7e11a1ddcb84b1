"""Every statement does something: the catalogue is walked, and each sentence has one proof of its effect."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable
from typing import cast

import pytest
import trio

from meshnode.effects.carried import CARRIED
from tests.effects.proof import Proof, proofs
from zencode.sentences import BY_ID, SENTENCES

# What is still to be proved, by who builds it; a row leaves with its proof.
OPEN_MEMBERS = {
    *(1, 2, 4, 5, 6, 7, 100, 104, 107, 108, 112, 114, 129, 136, 137, 300, 301, 304, 305, 311, 313),
    *(400, 401, 402, 403, 408, 409, 410, 411, 500, 501, 502, 503, 504, 531, 535, 541, 542, 543),
    *(550, 551, 552, 553, 554, 555, 556, 560, 561),
}

OPEN_GOVERNANCE = {3, 8, 9, 312, 577, 578, 583}

OPEN_MARKET = {
    *(105, 106, 119, 120, 121, 122, 123, 124, 125, 126, 127, 132, 133, 134, 135, 302, 309, 310, 406, 407, 414, 415),
    *(510, 511, 512, 513, 514, 515, 516, 517, 518, 519, 580, 581, 582, 590, 591, 592, 593),
}

OPEN_ENERGY = {
    *(101, 102, 103, 109, 110, 111, 113, 115, 116, 117, 118, 128, 130, 131, 138, 139, 140, 141, 142, 143),
    *(303, 306, 307, 308, 314, 315, 404, 405, 412, 413, 520, 521, 522, 523, 524, 525, 526, 527, 528, 529),
    *(530, 532, 533, 534, 536, 537, 538, 540, 570, 571, 572, 573, 574, 575, 594),
}

OPEN = OPEN_MEMBERS | OPEN_GOVERNANCE | OPEN_MARKET | OPEN_ENERGY


def test_no_statement_is_decoration() -> None:
    proved = Counter(id for id, _ in proofs())
    assert [id for id, times in sorted(proved.items()) if times > 1 or id not in BY_ID] == []
    assert {row.id for row in SENTENCES} - set(proved) == OPEN
    assert set(proved) <= CARRIED, "proved, and told as left out"
    assert CARRIED - set(proved) <= OPEN


@pytest.mark.parametrize(
    ("id", "proof"), [pytest.param(id, proof, id=f"{id} {BY_ID[id].name}") for id, proof in proofs()]
)
def test_a_sentence_does_what_it_means(id: int, proof: Proof) -> None:
    assert proof.__doc__, "a proof is a story that can be told"
    if inspect.iscoroutinefunction(proof):
        trio.run(proof)
    else:
        assert cast(Awaitable[None] | None, proof()) is None
