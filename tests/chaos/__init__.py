"""Chaos: real node processes under faults, while clients write and read through random nodes.

    python -m tests.chaos --minutes N [--nodes 5] [--learners 1] [--leader-kills 10] [--seed S] [--json]

At the end everything is healed, and it is checked that every acknowledged record is on every
ledger exactly once, refused ones took no effect, unknown ones were settled by their id, all nodes have
one state hash, `meshnode ledger verify` finds nothing, and what clients saw is linearizable.

The seed decides the faults, their times, their victims and what each client does in which order. It
does not decide how long anything takes: when processes run, who leads when a fault is for the leader,
and which writes meet which fault differ from run to run. A violation is therefore shown with the
nodes' logs and the history; the simulator (`tests/simulator`) is where it is made to happen again.

`wires` and `volumes` say with what means this computer lets the faults be made; where it permits
namespaces all of them vanish with the process.
"""
