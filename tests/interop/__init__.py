"""Interop: members of a microgrid that are not this program, written from the specification."""
