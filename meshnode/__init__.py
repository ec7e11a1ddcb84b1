"""meshnode: the peer-to-peer node of a community energy network."""

__version__ = "0.1.0"
