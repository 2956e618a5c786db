"""The engine's nf_tables table as it should be, and bringing the kernel there. Used on the network thread only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from dosirak.engine.networks import rules
from dosirak.engine.networks.nftables import Command, Nftables, NftError
from dosirak.engine.networks.rules import Bridge, Publication


class Firewall:
    """The table `table`: the wanted bridges and published ports, applied one transaction a change.

    When someone else has emptied the ruleset (`nft flush ruleset`, a firewall's reload), the next change finds the
    table missing and brings all of it back.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self._nftables: Nftables | None = None
        self._bridges: dict[str, Bridge] = {}
        self._publications: dict[Publication, None] = {}
        self._six = False  # whether there is a table of family ip6

    def install(self, bridges: Iterable[Bridge], publications: Iterable[Publication] = ()) -> None:
        """Adds bridges and published ports (of a predecessor: readopted) and writes the whole table."""
        self._bridges |= {bridge.name: bridge for bridge in bridges}
        self._publications |= dict.fromkeys(publications)
        self._run(self._whole())

    def publish(self, publications: Sequence[Publication]) -> None:
        """Opens published ports."""
        self._publications |= dict.fromkeys(publications)
        try:
            self._change(rules.publish(self.table, publications))
        except NftError:
            for publication in publications:
                self._publications.pop(publication, None)
            raise

    def withdraw(self, publications: Sequence[Publication]) -> None:
        """Closes published ports."""
        for publication in publications:
            self._publications.pop(publication, None)
        self._change(rules.withdraw(self.table, publications))

    def uninstall(self, bridge: str) -> None:
        """Takes a bridge's rules away, and with the last bridge the table."""
        self._bridges.pop(bridge, None)
        if self._bridges:
            self._run(self._whole())
        else:
            self._remove(self.table)
            self._six = False

    def remove_foreign(self, table: str) -> None:
        """Deletes the table of another engine, one that is gone."""
        self._remove(table)

    def close(self) -> None:
        """Lets go of the library; the table stays as it is."""
        if self._nftables:
            self._nftables.close()
            self._nftables = None

    def _remove(self, table: str) -> None:
        self._run(rules.remove(table))
        # On its own, for a kernel without IPv6 has no such family (and nobody's table in it).
        with contextlib.suppress(NftError):
            self._run(rules.remove(table, "ip6"))

    def _whole(self) -> list[Command]:
        bridges, publications = self._bridges.values(), list(self._publications)
        commands = rules.install(self.table, bridges, publications)
        wanted = any(bridge.subnet6 for bridge in bridges)
        if wanted:
            commands += rules.install(self.table, bridges, publications, "ip6")
        elif self._six:
            commands += rules.remove(self.table, "ip6")
        self._six = wanted
        return commands

    def _change(self, commands: list[Command]) -> None:
        try:
            self._run(commands)
        except NftError:
            self._run(self._whole())

    def _run(self, commands: list[Command]) -> None:
        if self._nftables is None:
            self._nftables = Nftables()
        self._nftables.run(commands)
