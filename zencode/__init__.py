"""zencode: bindings, the community's contract in plain sentences.

Text is read into a typed tree (`reader`), the tree has one deterministic
encoding and one hash whatever language it was written in (`binding`), and is
written back in any language of the catalogue (`writer`). What a binding may say
is one table (`sentences`, whose rows are in `catalogue`). `lint` finds what a community would regret, `terms`
is the view the state machine works with, `commands` is what a command line
calls. LANGUAGE.md, made from the table, is the manual, and there is one for each language.

Pure: no clock, no randomness, no floats. Only `reader` knows unicodedata.
"""
