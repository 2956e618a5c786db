"""The service's line to its keeper, open as long as the service lives."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable

from dosirak.engine.errors import HostLimit
from dosirak.engine.supervision import wire

_LOG = logging.getLogger(__name__)
# The keeper answers within milliseconds unless it is stopped.
_PATIENCE = 2.0


class Line:
    """Tells the keeper of published ports. A port's name is its protocol and address: "tcp/0.0.0.0/8080".

    `namespace`: a descriptor of the keeper's network namespace; `nameserver`: what answers there for the host's own
    resolver, "" where nothing leads outside.
    """

    def __init__(self, sock: socket.socket, namespace: int, nameserver: str) -> None:
        self._socket, self.namespace, self.nameserver = sock, namespace, nameserver
        sock.settimeout(_PATIENCE)  # however long a new keeper's first answer might take

    def forward(self, port: str, protocol: str, target: tuple[str, int], listener: socket.socket) -> None:
        """Carry what comes in by `listener` to a container. Raises HostLimit when the keeper is gone."""
        self._tell({"op": "forward", "port": port, "protocol": protocol, "target": target}, [listener.fileno()])

    def withdraw(self, port: str) -> None:
        """Carry no more; unknown is fine."""
        try:
            self._tell({"op": "withdraw", "port": port})
        except HostLimit as error:
            _LOG.warning("%s: %s", port, error)

    def only(self, ports: Iterable[str]) -> None:
        """Withdraw all but these, of an earlier service. Raises HostLimit."""
        self._tell({"op": "only", "ports": list(ports)})

    def settle(self) -> None:
        """Return when all that was told is done. Raises HostLimit."""
        self._tell({"op": "settle"})
        try:
            if wire.receive(self._socket)[0]:
                return
        except OSError as error:
            raise HostLimit(f"the engine's keeper does not answer: {error.strerror or error}") from error
        raise HostLimit("the engine's keeper has ended")

    def end(self) -> None:
        """Nobody needs the keeper any more."""
        try:
            self._tell({"op": "end"})
        except HostLimit:
            pass

    def close(self) -> None:
        """Hang up; what is carried goes on."""
        self._socket.close()
        os.close(self.namespace)

    def _tell(self, message: dict[str, object], fds: list[int] | None = None) -> None:
        try:
            wire.send(self._socket, wire.pack(message), fds or [])
        except OSError as error:
            raise HostLimit(f"the engine's keeper can't be reached: {error.strerror or error}") from error


def dial(path: str) -> socket.socket | None:
    """A connection to the keeper at this path; None if there is none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    sock.settimeout(_PATIENCE)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        return None
    return sock
