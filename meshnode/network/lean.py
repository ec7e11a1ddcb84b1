"""The lean import: py-libp2p's modules without its package initialiser.

`libp2p/__init__.py` imports every transport, discovery method, store and
cipher the library has: about 150 modules beyond what a node uses (HTTP
clients, zeroconf, ACME, Filecoin, elliptic curves of other chains), 16 MB of
resident memory and half a second on every start. The modules named by this
package work without it, so it is not executed. `pyproject.toml` pins the
exact version that this was tried with, and a test holds the list of packages
that are really imported.

Import this module before the first `import libp2p...`.
"""

import importlib
import importlib.util
import logging
import os
import sys

# Credit is returned to the sender in halves of the window, not after every
# read: twice the messages per second. Read by yamux at call time.
os.environ.setdefault("PY_YAMUX_RELEASE_ON_READ", "0")

# The library logs as errors what any stranger can cause (a refused handshake, a
# port scan) and any restart (a failed dial). The transport counts all of it.
if logging.getLogger("libp2p").level == logging.NOTSET:
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


def _register_without_running() -> None:
    if "libp2p" in sys.modules:
        return  # somebody imported all of it before: heavier, and works as well
    spec = importlib.util.find_spec("libp2p")
    if spec is None:
        raise ImportError("py-libp2p is not installed; install the project's requirements.lock")
    sys.modules["libp2p"] = importlib.util.module_from_spec(spec)


_register_without_running()

# The library's modules import one another in a circle that only closes when
# it is entered here, which is also where its own initialiser enters it.
importlib.import_module("libp2p.transport.quic.utils")
