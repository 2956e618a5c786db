"""The way from the engine's network namespace to the outside: pasta, or else slirp4netns. Pure, but for `find`."""

from __future__ import annotations

import shutil
from typing import NamedTuple


class Outward(NamedTuple):
    """A program that leads outside, and the address at which it stands for the host's own resolver."""

    program: str
    arguments: tuple[str, ...]
    nameserver: str

    def command(self, namespace: str) -> list[str]:
        """Its command line for the network namespace that is mounted on this file."""
        return [self.program, *(argument.format(namespace=namespace) for argument in self.arguments)]


# No ports either way (published ones are the keeper's), and no way to what listens on the host's loopback.
_PASTA = (
    *("--config-net", "--foreground", "--quiet", "--no-map-gw", "--dns-forward", "169.254.1.1"),
    *("-t", "none", "-u", "none", "-T", "none", "-U", "none", "--netns", "{namespace}"),
)
_SLIRP = (
    *("--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"),
    *("--netns-type=path", "{namespace}", "tap0"),
)


def find() -> Outward | None:
    """The one this machine has; None without any."""
    if program := shutil.which("pasta"):
        return Outward(program, _PASTA, "169.254.1.1")
    if program := shutil.which("slirp4netns"):
        return Outward(program, _SLIRP, "10.0.2.3")
    return None
