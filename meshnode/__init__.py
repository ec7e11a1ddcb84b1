"""meshnode: the peer-to-peer node of a community energy network."""
