"""Raft scripts: runs transcripts in the cockroachdb/datadriven format against `protocols.raft`.

    python -m tests.raft_scripts [--without-log-lines] [--json] PATH...

A script is a list of commands with the output each must print. Three dialects,
told apart by their first command: quorum tables (`vote`, `committed`),
membership tables (`simple`, `enter-joint`, `leave-joint`), and interactions of
whole nodes over a network that the script delivers by hand.
"""
