"""A container's networks: what it asks for, joining them at its start, connecting and disconnecting later.

`Networking` is the door, reached as `containers.networking`; `asked` checks what a request wants, `joining` makes the
networks room's requests of it, `files` writes /etc/hosts, /etc/resolv.conf and /etc/hostname, `links` is `--link`.
"""

from __future__ import annotations

from dosirak.engine.containers.networking.door import Networking

__all__ = ["Networking"]
