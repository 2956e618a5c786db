"""What `%topology` yields."""

from __future__ import annotations

from pathlib import Path

from dosirak.magics.look.html import picture
from dosirak.magics.look.text import one_line
from dosirak.magics.look.words import Ports
from dosirak.magics.topology.draw import svg
from dosirak.magics.topology.layout import place
from dosirak.magics.topology.model import Member, System


class Topology:
    """The system at one moment. Shown in a notebook it is a picture, in a terminal a tree."""

    def __init__(self, system: System) -> None:
        self.system = system

    @property
    def svg(self) -> str:
        """The picture, an SVG document."""
        return svg(place(self.system), self._summary)

    def save(self, path: str | Path) -> Path:
        """Write the picture to an .svg file; return its path."""
        target = Path(path)
        target.write_text(self.svg)
        return target

    @property
    def _summary(self) -> str:
        system = self.system
        bridges = ", ".join(f"{bridge.device} with {len(bridge.members)}" for bridge in system.bridges)
        return f"{system.running} running containers; bridges: {bridges or 'none'}; {len(system.stopped)} not running"

    def _repr_html_(self) -> str:
        return picture(self.svg, self._summary)

    def __repr__(self) -> str:
        system = self.system
        lines = [f"host {one_line(system.host)}  (kernel {one_line(system.kernel)})"]
        for bridge in system.bridges:
            address = f"{bridge.gateway}  {bridge.subnet}".strip()
            lines += _branch(f"{bridge.device}  bridge of network {bridge.name}  {address}", bridge.members, wired=True)
        for title, members in (
            ("the host's own network", system.shared),
            ("another container's network", system.joined),
            ("no network", system.alone),
            ("not running", system.stopped),
        ):
            if members:
                lines += _branch(title, members)
        return "\n".join(lines)


def _branch(title: str, members: tuple[Member, ...], *, wired: bool = False) -> list[str]:
    lines = [f"├─ {one_line(title)}"]
    for position, member in enumerate(members):
        mark = "└─" if position == len(members) - 1 else "├─"
        veth = f"{member.veth} ⇄ {one_line(member.inner)}  " if wired and member.veth else ""
        published = Ports(port for port in member.ports if port.public)
        facts = [member.ip, member.mac, str(published), member.status or member.state]
        told = "  ".join(one_line(fact) for fact in facts if fact)
        lines.append(f"│  {mark} {veth}{one_line(member.name)} [{one_line(member.image)}]  {told}")
    return lines
