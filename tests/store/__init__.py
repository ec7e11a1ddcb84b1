"""Tests of the store: what survives, what is refused, what is noticed."""
