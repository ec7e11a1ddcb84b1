"""Lints: the rules of a check, a module for each part of a contract; `zencode.lint` puts them together."""
