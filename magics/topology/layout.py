"""Where everything stands, in pixels: pure arithmetic on a System.

Containers stand in rows under their bridge. Left of each column runs a gutter of lanes: one for each veth wire that
comes down from the bridge, one for each published port that comes in from above the host. So no wire crosses a box,
and wires cross each other only where a port passes over the bridge's bar.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dosirak.magics.look.words import Port
from dosirak.magics.topology.model import Bridge, Member, System

MARGIN = 16
PAD = 18
BOX_WIDTH = 206
LINE = 16
LANE = 10
BAR = 30
HEADROOM = 20
ROW_GAP = 12
FLAG = 20
PORTS_SHOWN = 4


@dataclass
class Wire:
    """A veth pair: down from the bridge at `x`, into the box's left side at `y`."""

    x: float
    top: float
    y: float
    end: float
    label: str


@dataclass
class Inlet:
    """A published port: from its flag above the host down at `x`, into the box at `y`."""

    x: float
    flag: float
    y: float
    end: float
    outside: str
    inside: str
    url: str


@dataclass
class Box:
    """A container. `kind` is wired, host, none or joined."""

    member: Member
    kind: str
    x: float
    y: float
    height: float
    width: float = BOX_WIDTH
    lines: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Bar:
    """A bridge."""

    bridge: Bridge
    x: float
    y: float
    width: float


@dataclass
class Plan:
    """The whole picture."""

    width: float = 0
    height: float = 0
    host: tuple[float, float, float, float] = (0, 0, 0, 0)
    title: str = ""
    text_x: float = 0
    bars: list[Bar] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    inlets: list[Inlet] = field(default_factory=list)
    captions: list[tuple[float, float, str]] = field(default_factory=list)
    chips: list[tuple[float, float, float, Member]] = field(default_factory=list)


def columns_for(count: int) -> int:
    """Return how many containers stand side by side: few stay wide apart, many keep the picture near a page's width."""
    return max(1, count if count <= 3 else 3 if count <= 6 else 4)


def place(system: System) -> Plan:
    """Return the picture's plan."""
    return _Placing(system).plan


class _Placing:
    def __init__(self, system: System) -> None:
        self._system = system
        self.plan = Plan()
        self._columns = columns_for(max([len(bridge.members) for bridge in system.bridges] + [_loose(system)]))
        self._lanes = self._count_lanes()
        self._left = MARGIN + PAD
        self._inner = sum(self._gutter(c) + BOX_WIDTH for c in range(self._columns)) + LANE
        self._inner = max(self._inner, 440)
        flags = max([ports for _, ports in self._lanes] or [0])
        self.plan.text_x = self._start = self._column_x(0)
        self._top = MARGIN + (flags * FLAG + 8 if flags else 0)
        self._y: float = self._top + 44
        self._used = [0] * self._columns
        self._flagged = [0] * self._columns
        self._place()

    def _count_lanes(self) -> list[tuple[int, int]]:
        """Return for each column how many wires and how many ports run beside it."""
        lanes = [(0, 0)] * self._columns
        for bridge in self._system.bridges:
            for position, member in enumerate(bridge.members):
                wires, ports = lanes[position % self._columns]
                lanes[position % self._columns] = wires + bool(member.veth), ports + len(_published(member))
        return lanes

    def _gutter(self, column: int) -> float:
        wires, ports = self._lanes[column]
        return 20 + LANE * (wires + ports)

    def _column_x(self, column: int) -> float:
        return self._left + sum(self._gutter(c) + BOX_WIDTH for c in range(column)) + self._gutter(column)

    def _place(self) -> None:
        for bridge in self._system.bridges:
            self._bridge(bridge)
        self._loose()
        self._chips()
        plan = self.plan
        plan.width = self._left + self._inner + PAD + MARGIN
        bottom = self._y + PAD - 6
        plan.host = (MARGIN, self._top, plan.width - 2 * MARGIN, bottom - self._top)
        plan.height = bottom + MARGIN
        plan.title = self._system.host

    def _bridge(self, bridge: Bridge) -> None:
        bar = Bar(bridge, self._left, self._y, self._inner)
        self.plan.bars.append(bar)
        self._y += BAR + 4
        if not bridge.members:
            self.plan.captions.append((self._start, self._y + 18, "no container is connected"))
            self._y += 34
        for start in range(0, len(bridge.members), self._columns):
            self._row(bar, bridge.members[start : start + self._columns])
        self._y += 8

    def _row(self, bar: Bar, members: tuple[Member, ...]) -> None:
        top = self._y + HEADROOM
        boxes = [self._box(member, "wired", column, top) for column, member in enumerate(members)]
        height = max(box.height for box in boxes)
        for column, box in enumerate(boxes):
            box.height = height
            self._connect(bar, box, column)
        self._y = top + height + ROW_GAP

    def _box(self, member: Member, kind: str, column: int, top: float) -> Box:
        lines = [("image", member.image)]
        if member.ip:
            lines.append(("mono", f"{member.inner}  {member.ip}" if member.also else member.ip))
        if member.mac:
            lines.append(("mono", member.mac))
        if member.pid:
            lines.append(("pid", f"pid {member.pid}"))
        lines += [("faint", f"also on {name}") for name in member.also]
        ports = len(_published(member))
        height = 34 + LINE * len(lines) + 8
        height = max(height, 40 + 18 * ports + 6)
        box = Box(member, kind, self._column_x(column), top, height, lines=lines)
        self.plan.boxes.append(box)
        return box

    def _connect(self, bar: Bar, box: Box, column: int) -> None:
        start = box.x - self._gutter(column) + 10
        if box.member.veth:
            x = start + LANE * self._used[column]
            self._used[column] += 1
            self.plan.wires.append(Wire(x, bar.y + BAR, box.y + 18, box.x, box.member.veth))
        wires, ports = self._lanes[column]
        for position, group in enumerate(_published(box.member)):
            # From right to left, each flag one step higher: no pole passes another's flag.
            number = self._flagged[column]
            self._flagged[column] += 1
            x = start + LANE * (wires + ports - 1 - number)
            flag = self._top - 14 - FLAG * number
            y = box.y + 42 + 18 * position
            self.plan.inlets.append(Inlet(x, flag, y, box.x, _outside(group), _inside(group), group[0].url))

    def _loose(self) -> None:
        """Place what hangs on no bridge, each with a word above it that says on what it is instead."""
        system = self._system
        words = {"host": "on the host's own network", "joined": "in another's network", "none": "no network: lo only"}
        kinds = {"host": system.shared, "joined": system.joined, "none": system.alone}
        loose = [(kind, member) for kind, members in kinds.items() for member in members]
        for start in range(0, len(loose), self._columns):
            top = self._y + HEADROOM
            boxes = [
                self._box(member, kind, column, top)
                for column, (kind, member) in enumerate(loose[start : start + self._columns])
            ]
            self.plan.captions += [(box.x + 2, top - 6, words[box.kind]) for box in boxes]
            self._y = top + max(box.height for box in boxes) + ROW_GAP

    def _chips(self) -> None:
        if not self._system.stopped:
            return
        self.plan.captions.append((self._start, self._y + 14, "not running"))
        self._y += 22
        x = self._start
        for member in self._system.stopped:
            width = 30 + 6.9 * min(len(member.name), 24) + 6 * min(len(_ended(member)), 22)
            if x + width > self._left + self._inner and x > self._start:
                x, self._y = self._start, self._y + 30
            self.plan.chips.append((x, self._y, width, member))
            x += width + 10
        self._y += 30


def _loose(system: System) -> int:
    return len(system.shared) + len(system.joined) + len(system.alone)


def _ended(member: Member) -> str:
    return member.status or member.state


def _published(member: Member) -> list[list[Port]]:
    """Return the published ports, runs of consecutive ones together, at most PORTS_SHOWN groups."""
    groups: list[list[Port]] = []
    seen = set()
    for port in sorted((p for p in member.ports if p.public), key=lambda p: (p.protocol, p.private, p.public, p.ip)):
        if (port.private, port.public, port.protocol) in seen:
            continue  # the same on another address of the host (IPv4 and IPv6)
        seen.add((port.private, port.public, port.protocol))
        last = groups[-1][-1] if groups else None
        step = (port.private - 1, port.public - 1, port.protocol)
        if last and (last.private, last.public, last.protocol) == step:
            groups[-1].append(port)
        else:
            groups.append([port])
    return groups[:PORTS_SHOWN]


def _outside(group: list[Port]) -> str:
    first, last = group[0], group[-1]
    host = "" if first.ip in ("", "0.0.0.0", "::") else first.ip
    return f"{host}:{first.public}" + (f"–{last.public}" if last is not first else "")


def _inside(group: list[Port]) -> str:
    first, last = group[0], group[-1]
    numbers = str(first.private) + (f"–{last.private}" if last is not first else "")
    return f"{numbers}/{first.protocol}"
