"""Origin: lots, and where a period's energy came from."""
