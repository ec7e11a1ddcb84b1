"""protocols: the wire formats and consensus rules of a microgrid. Pure: bytes and values, no I/O."""
