"""Crash: kill -9 at the worst moments of a leader, and what must survive it."""
