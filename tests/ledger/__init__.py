"""Tests of the ledger: its state, its machine, and the tools that check it from outside."""
