"""Who knows whom by what name: each container the names on its own networks, and nothing else. Pure.

The order of looking is Docker's (libnetwork: sandbox.go, ResolveName): a whole name on each of the networks; then all
but the last label on the network of that name, and so on; a link's alias before a neighbour's name.
"""

from __future__ import annotations

from dosirak.engine.networks.dns import packets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_REVERSE, _REVERSE6 = ".in-addr.arpa", ".ip6.arpa"


class Box:
    """A container: the networks it is on, their ids in the order of looking, and its own names for others.

    `servers`: who is asked for the rest, each with whether from inside the container's namespace; `outside`: whether
    the host may ask for it; `whole`: names of one label are not asked elsewhere (it has set `ndots` itself).
    """

    __slots__ = ("links", "networks", "outside", "servers", "whole")

    def __init__(
        self,
        networks: Sequence[str],
        links: Mapping[str, Mapping[str, str]],
        servers: Sequence[tuple[str, bool]],
        outside: bool,
        whole: bool,
    ) -> None:
        self.networks, self.links = tuple(networks), {net: _lower(names) for net, names in links.items()}
        self.servers = tuple((address, inside) for address, inside in servers if outside or inside)
        self.outside, self.whole = outside, whole


class _Network:
    """One network: name → those that have it, by endpoint, each with its addresses; address → its owner's first name.

    The addresses of one are those of IPv4 and of IPv6, in this order; b"" is none.
    """

    __slots__ = ("addresses", "name", "names")

    def __init__(self, name: str) -> None:
        self.name = name.lower()
        self.names: dict[str, dict[str, tuple[bytes, bytes]]] = {}
        self.addresses: dict[bytes, str] = {}


class Zones:
    """All networks' names."""

    def __init__(self) -> None:
        self._networks: dict[str, _Network] = {}
        self._endpoints: dict[str, tuple[str, tuple[str, ...], tuple[bytes, bytes]]] = {}
        self._turn = 0

    @property
    def endpoints(self) -> frozenset[str]:
        """The ids of all endpoints."""
        return frozenset(self._endpoints)

    def add(
        self,
        endpoint: str,
        network: str,
        network_name: str,
        names: Sequence[str],
        address: bytes,
        address6: bytes = b"",
    ) -> None:
        """A container on a network, or what has become of it; the first name stands for its address."""
        self.remove(endpoint)
        own = tuple(dict.fromkeys(name.lower() for name in names))
        found = self._networks.setdefault(network, _Network(network_name))
        for name in own:
            found.names.setdefault(name, {})[endpoint] = address, address6
        for one in (address, address6):
            if names and one:
                found.addresses[one] = f"{names[0]}.{network_name}"
        self._endpoints[endpoint] = network, own, (address, address6)

    def remove(self, endpoint: str) -> None:
        """A container on a network no more; unknown is fine."""
        network, names, addresses = self._endpoints.pop(endpoint, ("", (), (b"", b"")))
        found = self._networks.get(network)
        if found is None:
            return
        for name in names:
            having = found.names[name]
            having.pop(endpoint, None)
            if not having:
                del found.names[name]
        for address in addresses:
            found.addresses.pop(address, None)
        if not found.names:
            del self._networks[network]

    def answer(self, box: Box, question: packets.Question) -> list[tuple[int, bytes]] | None:
        """The records that answer a container's question; None when somebody else has to be asked.

        A name that is known but has no record of the kind asked for is answered by none: nobody else could know one.
        """
        if question.kind == packets.PTR and (address := _reversed(question.name)):
            return self._reverse(box, address)
        having = self._resolve(box, question.name)
        if having is None:
            return None
        if question.kind not in (packets.A, packets.AAAA):
            return []
        addresses = [address for one in having if (address := one[question.kind == packets.AAAA])]
        if len(addresses) > 1:  # everybody's turn comes
            self._turn += 1
            at = self._turn % len(addresses)
            addresses = addresses[at:] + addresses[:at]
        return [(question.kind, address) for address in addresses]

    def _resolve(self, box: Box, name: str) -> list[tuple[bytes, bytes]] | None:
        if not name:
            return None
        for part, network_name in _readings(name):
            for network in box.networks:
                found = self._networks.get(network)
                if found is None or (network_name and found.name != network_name):
                    continue
                target = box.links.get(network, {}).get(part)
                having = (found.names.get(target) if target else None) or found.names.get(part)
                if having:
                    return list(having.values())
        return None

    def _reverse(self, box: Box, address: bytes) -> list[tuple[int, bytes]] | None:
        for network in box.networks:
            found = self._networks.get(network)
            owner = found.addresses.get(address) if found else None
            if owner:
                try:
                    return [(packets.PTR, packets.encode_name(owner))]
                except ValueError:
                    return []
        return None


def _reversed(name: str) -> bytes:
    """The address that a name of the reverse zones stands for; b"" for any other name."""
    numbers = name.removesuffix(_REVERSE).split(".")
    whole = name.endswith(_REVERSE) and len(numbers) == 4
    if whole and all(part.isascii() and part.isdigit() and int(part) < 256 for part in numbers):
        return bytes(int(part) for part in reversed(numbers))
    digits = name.removesuffix(_REVERSE6).split(".")
    whole = name.endswith(_REVERSE6) and len(digits) == 32
    if whole and all(len(part) == 1 and part in "0123456789abcdef" for part in digits):
        return bytes.fromhex("".join(reversed(digits)))
    return b""


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """a.b.c is itself on any network, a.b on network c, a on network b.c."""
    yield name, ""
    at = len(name)
    while (at := name.rfind(".", 0, at)) > 0:
        yield name[:at], name[at + 1 :]


def _lower(names: Mapping[str, str]) -> dict[str, str]:
    return {alias.lower(): target.lower() for alias, target in names.items()}
