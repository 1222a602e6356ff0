"""TCP ports for servers that are about to start."""

import random
import socket
from pathlib import Path

GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")  # to connections, by the kernel
FIRST, LAST = 20_000, 32_000  # Ray's workers listen below
_CHANCE = random.SystemRandom()  # tests set the seed of the other one, in each of their processes


def free_port() -> int:
    """Return a TCP port of this machine on which no process listens.

    Until the server listens, and while it is restarted, no connection of another process is
    given it: the kernel gives ports above.
    """
    lowest = int(GIVEN.read_text().split()[0]) if GIVEN.exists() else 0
    while True:
        port = 0 if lowest < LAST else _CHANCE.randrange(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
