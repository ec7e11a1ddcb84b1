"""Simulator: a whole microgrid in one thread, from one seed, at the mercy of chance and of liars.

Real are the validator, the learner, Raft, the rules of blocks, certificates, the mempool and the
state machine. Simulated, and owned by this package, are

    timeline   virtual time: what happens when; idle time is skipped
    clock      what each node believes the time to be, and how fast it ticks
    network    who hears whom: loss, copies, order, delay, cut wires
    disk       what survives: torn, lost, rotten and failed writes, old images
    keys       signatures: a keyed hash instead of Ed25519, but in every 50th seed
    node       the shell around one validator or learner: ticks, parcels, writes, crashes
    following  who does not vote asks neighbours for blocks
    electorate_load  an administrator who changes who validates, among all that goes wrong
    succession what the certified blocks themselves say about who agrees on which height
    members    readings, orders and transfers, and clients that hold acknowledgements
    liars      nodes with valid keys that send what no honest node would
    plan       which of all this one seed draws; a plan can be cut down
    witness    what must hold after every step, whatever happens

`python -m tests.simulator --seeds 200 --hours 6 --json` runs seeds; a failing one
prints the line that replays it.
"""
