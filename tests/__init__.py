"""Tests: transcripts, properties and stories about every part of the project."""
