"""Broken package: the driver of another package that fails while it is imported."""

raise RuntimeError("sails are missing")
