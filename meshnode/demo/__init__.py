"""Demo: a microgrid of real node processes on this computer, with meters that are emulated.

Every node is a process of its own with its own directory, keys, ledger and page. Two
homes are read through pseudo-terminals on which an emulated meter speaks real P1 and
SML telegrams; the other homes' meters are simulated or replayed. The clock is a
demonstration clock. All of that is said on the screen.

Nothing in the report comes from the process that plays: it asks every node, and has
every ledger verified again by a fresh process.
"""

from meshnode.demo.homes import Options
from meshnode.demo.play import run_demo

__all__ = ["Options", "run_demo"]
