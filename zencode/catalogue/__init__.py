"""Catalogue: the rows of everything a binding can say, a module for each sort of sentence.

`zencode.sentences` puts them together and is where everybody else looks.
"""
