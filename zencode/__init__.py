"""zencode: bindings, the community's contract in plain sentences."""
