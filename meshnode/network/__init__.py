"""Network: how nodes reach one another. Only this package knows libp2p."""
