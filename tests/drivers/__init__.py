"""Tests of drivers: codecs, serial lines, homes and the registry."""
