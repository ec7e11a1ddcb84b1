"""Effects: what the events of a binding bring about, evaluated from its tree.

`Blocks.at` says which actions an event has, given the facts; the parts of the state machine that
carry the actions out ask it. What nobody asks for would be decoration: `carried` names every
statement and who carries it out, and a test proves an effect of each.
"""

from meshnode.effects.blocks import Blocks, Outcome
from meshnode.effects.calendar import Calendar
from meshnode.effects.facts import Facts

__all__ = ["Blocks", "Calendar", "Facts", "Outcome"]
