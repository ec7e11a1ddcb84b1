"""Tests of amounts, market and settlement: stories in text files, and properties."""
