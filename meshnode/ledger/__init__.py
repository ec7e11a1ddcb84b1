"""Ledger: accounts, keys, assets and readings, and the state that holds them. Pure."""
