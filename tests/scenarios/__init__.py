"""Scenarios: what the product can do, each played in a mesh of real node processes."""
