"""The engine's networks by id and by name: who is found under what reference, in Docker's order and words."""

from __future__ import annotations

from collections.abc import Iterator

from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.networks.drivers import Driver


class Registry:
    """Each network's driver, which has its record."""

    def __init__(self) -> None:
        self._drivers: dict[str, Driver] = {}

    def __iter__(self) -> Iterator[Driver]:
        return iter(list(self._drivers.values()))

    def add(self, driver: Driver) -> None:
        """A new network."""
        self._drivers[driver.network.id] = driver

    def remove(self, driver: Driver) -> None:
        """A network that is no more."""
        self._drivers.pop(driver.network.id, None)

    def get(self, network_id: str) -> Driver | None:
        """By its whole id."""
        return self._drivers.get(network_id)

    def find(self, ref: str) -> Driver:
        """By id, name, or the beginning of an id. Raises NotFound, InvalidRequest when ambiguous."""
        if driver := self._drivers.get(ref):
            return driver
        found = [driver for driver in self if driver.network.name == ref]
        found = found or [driver for driver in self if ref and driver.network.id.startswith(ref)]
        if not found:
            raise NotFound(f"network {ref} not found")
        if len(found) > 1:
            raise InvalidRequest(f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)")
        return found[0]
