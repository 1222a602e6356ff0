"""A second host for tests: a network namespace with an address of its own, where root may."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests import network


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """This host and another one, as the other one sees them."""

    here: str  # address
    there: str
    run_there: tuple[str, ...]  # command prefix that runs a command on the other host
    link: str  # the interface of this host

    def cut(self) -> None:
        """Pull the cable: packets are lost, and nobody is told."""
        with network.changing():
            assert _succeeds(f"ip link set {self.link} down")

    def mend(self) -> None:
        """Put the cable in again."""
        with network.changing():
            assert _succeeds(f"ip link set {self.link} up")


@contextlib.contextmanager
def two_hosts() -> Iterator[Hosts | None]:
    """Yield a second host that reaches this one by network only; None where none can be made."""
    name = f"sf{os.getpid()}"
    part = os.getpid() % 200 + 20
    here, there = f"10.213.{part}.1", f"10.213.{part}.2"
    commands = [
        f"ip netns add {name}",
        f"ip link add {name}a type veth peer name {name}b netns {name}",
        f"ip link set {name}a addrgenmode none",  # no further address, seconds later
        f"ip addr add {here}/30 dev {name}a",
        f"ip link set {name}a up",
        f"ip -n {name} addr add {there}/30 dev {name}b",
        f"ip -n {name} link set {name}b up",
        f"ip -n {name} link set lo up",
    ]
    try:
        with network.changing():
            is_made = shutil.which("ip") and all(_succeeds(command) for command in commands)
        if not is_made:
            yield None
        else:
            prefix = ("ip", "netns", "exec", name)
            yield Hosts(here=here, there=there, run_there=prefix, link=f"{name}a")
    finally:
        with network.changing():
            _succeeds(f"ip link del {name}a")  # at once, and not when the kernel comes to it
            _succeeds(f"ip netns del {name}")


def _succeeds(command: str) -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run(command.split(), capture_output=True).returncode == 0
    return False
