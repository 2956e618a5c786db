"""Certificates for one registry, as Docker and Podman keep them.

Source: Docker's "Verify repository client with certificates".

`certs.d/<host:port>/` holds `*.crt`: authorities to trust there, besides the machine's own (`SSL_CERT_FILE`,
`SSL_CERT_DIR`); `name.cert` with `name.key`: who we are there.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from dosirak.engine.errors import InvalidRequest

DIRECTORIES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))

_Stamp = tuple[tuple[str, int], ...]


class Certificates:
    """TLS contexts by server, made anew when a server's files have changed.

    Parameters: `directories`: where the folders named after servers are, all of them read.
    """

    def __init__(self, directories: Sequence[Path] = DIRECTORIES) -> None:
        self._directories = directories
        self._known: dict[tuple[str, bool], tuple[_Stamp, ssl.SSLContext | bool]] = {}

    def context(self, host: str, insecure: bool) -> ssl.SSLContext | bool:
        """How to speak TLS with `host` ("name:port"): a context, True for the usual way, False without any check.

        Raises InvalidRequest for files that are none, or of which one is missing.
        """
        stamp = self._stamp(host)
        if not stamp:
            return not insecure
        known = self._known.get((host, insecure))
        if known is None or known[0] != stamp:
            known = self._known[host, insecure] = stamp, _load([Path(name) for name, _ in stamp], insecure)
        return known[1]

    def _stamp(self, host: str) -> _Stamp:
        if "/" in host or host.startswith("."):
            return ()
        found = []
        for directory in self._directories:
            try:
                found += [(str(path), path.stat().st_mtime_ns) for path in sorted((directory / host).iterdir())]
            except OSError:
                continue
        return tuple(found)


def _load(paths: Sequence[Path], insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in paths:
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                if (key := path.with_suffix(".key")) not in paths:
                    raise InvalidRequest(
                        f"missing key {key.name} for client certificate {path.name}. CA certificates must use the "
                        "extension .crt"
                    )
                context.load_cert_chain(path, key)
            elif path.suffix == ".key" and (certificate := path.with_suffix(".cert")) not in paths:
                raise InvalidRequest(f"missing client certificate {certificate.name} for key {path.name}")
        except OSError as error:  # ssl.SSLError is one
            raise InvalidRequest(f"{path}: no certificate or key: {error.strerror or error}") from error
    return context
