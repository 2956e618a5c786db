"""A network that shows itself: its subnet, and who is on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker.models.networks import Network as DockerNetwork

from dosirak.magics.look import theme, words
from dosirak.magics.look.html import card, join, mono, tag
from dosirak.magics.look.text import one_line

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine


class Network(DockerNetwork):  # type: ignore[misc]
    """docker-py's Network: `n.connect(…)`, `n.disconnect(…)`, `n.remove()`, `n.reload()`, …."""

    @classmethod
    def of(cls, engine: Engine, reference: str) -> Network:
        """Return the network `reference` (name or id) as it is now."""
        client = engine.client
        return cls(attrs=engine.get(f"/networks/{reference}"), client=client, collection=client.networks)

    def __str__(self) -> str:
        """Return its name, so that `{network}` and `$network` name it in a magic's line."""
        return str(self.name)

    def __repr__(self) -> str:
        lines = [f"{one_line(str(self.name))}  {words.short_id(self.id)}  {one_line(self._summary)}"]
        lines += [f"  {address:<18}  {one_line(name)}" for address, name in self._members]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = tag(
            "div",
            tag("b", str(self.name)),
            join("  ", mono(words.short_id(self.id))),
            tag("span", f"  {self._summary}", style=f"color:{theme.GREY}"),
        )
        return card(head, [(address or "–", join(name)) for address, name in self._members])

    @property
    def _summary(self) -> str:
        parts = [str(self.attrs.get("Driver", ""))]
        for pool in (self.attrs.get("IPAM") or {}).get("Config") or []:
            parts.append(str(pool.get("Subnet", "")))
            if pool.get("Gateway"):
                parts.append(f"gateway {pool['Gateway']}")
        if self.attrs.get("Internal"):
            parts.append("internal")
        return " · ".join(filter(None, parts))

    @property
    def _members(self) -> list[tuple[str, str]]:
        """Each container's address and name."""
        containers = (self.attrs.get("Containers") or {}).values()
        return sorted((str(one.get("IPv4Address", "")), str(one.get("Name", ""))) for one in containers)
