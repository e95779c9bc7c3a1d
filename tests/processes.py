"""Processes on this machine: that talk to each other, and that have fewer rights than the tests."""

import ctypes
import socket


def free_ports(n: int) -> list[int]:
    """Ports on which nobody listens."""
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def bound_by_permissions():
    """For `preexec_fn`: root, too, may read and write only what the modes of files allow."""
    library, drop = ctypes.CDLL(None), 24  # PR_CAPBSET_DROP
    for capability in (1, 2):  # to write, and to read, whatever the modes say
        library.prctl(drop, capability, 0, 0, 0)
