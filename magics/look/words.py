"""Docker's wording of times, sizes, ports and states (docker/go-units, docker/cli formatter)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def duration(seconds: float) -> str:
    """Return "3 minutes", "About an hour", … as Docker words a time span."""
    whole = int(seconds)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 24 * 14:
        return f"{hours // 24} days"
    if hours < 24 * 60:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 730:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(then: float, now: float) -> str:
    """Return "3 minutes ago" for two unix times."""
    return f"{duration(max(0.0, now - then))} ago"


def size(count: float) -> str:
    """Return bytes in Docker's decimal units with three significant digits: "117MB"."""
    return _scaled(count, 1000.0, _UNITS)


def binary_size(count: float) -> str:
    """Return bytes in binary units with four significant digits: "512MiB"."""
    return _scaled(count, 1024.0, _BINARY_UNITS, 4)


def _scaled(count: float, base: float, units: tuple[str, ...], digits: int = 3) -> str:
    value, index = float(count), 0
    while value >= base and index < len(units) - 1:
        value, index = value / base, index + 1
    text = f"{value:.{digits}g}"
    return f"{float(text):g}{units[index]}" if "e" in text else f"{text}{units[index]}"


@dataclass(frozen=True, order=True, slots=True)
class Share:
    """Bytes out of a total, as `system df` shows them: "3kB (50%)"; without a percentage when the total is 0."""

    count: int
    total: int = 0

    def __str__(self) -> str:
        return size(self.count) + (f" ({self.count * 100 // self.total}%)" if self.total > 0 else "")


def short_id(identity: str) -> str:
    """Return the 12 digits by which people know an id."""
    return identity.removeprefix("sha256:")[:12]


def clock(moment: datetime) -> str:
    """Return a moment in this machine's time zone, to the millisecond."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def pairs(attributes: Mapping[str, str]) -> str:
    """Return "key=value, key=value", sorted."""
    return ", ".join(f"{key}={value}" for key, value in sorted(attributes.items()))


def shorten(text: str, limit: int) -> str:
    """Return `text` within `limit` characters, the last one an ellipsis when it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@dataclass(frozen=True, order=True, slots=True)
class Port:
    """A container's port, and where on the host it is published (`public` 0: nowhere)."""

    private: int
    ip: str
    public: int
    protocol: str

    def __str__(self) -> str:
        if not self.public:
            return f"{self.private}/{self.protocol}"
        ip = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{ip}:{self.public}->{self.private}/{self.protocol}"

    @property
    def url(self) -> str:
        """Where a browser on this machine would find it, or nothing when it is not published over TCP."""
        if not self.public or self.protocol != "tcp":
            return ""
        host = {"0.0.0.0": "localhost", "::": "localhost", "": "localhost"}.get(self.ip, self.ip)
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.private == 443 else 'http'}://{host}:{self.public}/"


class Ports(tuple[Port, ...]):
    """A container's ports; as text, Docker's PORTS column."""

    __slots__ = ()

    @classmethod
    def of_summary(cls, entries: Iterable[Mapping[str, Any]]) -> Ports:
        """Read the Ports of GET /containers/json."""
        return cls(
            sorted(
                Port(int(e["PrivatePort"]), e.get("IP", ""), int(e.get("PublicPort") or 0), e.get("Type", "tcp"))
                for e in entries
            )
        )

    @classmethod
    def of_settings(cls, ports: Mapping[str, Any] | None) -> Ports:
        """Read NetworkSettings.Ports of GET /containers/{id}/json."""
        found = []
        for name, bindings in (ports or {}).items():
            number, _, protocol = name.partition("/")
            for binding in bindings or [{}]:
                host = binding.get("HostPort") or 0
                found.append(Port(int(number), binding.get("HostIp", ""), int(host), protocol or "tcp"))
        return cls(sorted(found))

    def __str__(self) -> str:
        """Return "0.0.0.0:8080->80/tcp, 443/tcp"; consecutive ports as a range."""
        groups: list[list[Port]] = []
        mapped: list[str] = []
        for port in self:
            if port.public and port.public != port.private:
                mapped.append(str(port))
                continue
            last = next((g for g in groups if (g[-1].ip, g[-1].protocol) == (port.ip, port.protocol)), None)
            if last and port.private in (last[-1].private, last[-1].private + 1):
                last.append(port)
            else:
                groups.append([port])
        return ", ".join([*map(_group, groups), *mapped])

    def __repr__(self) -> str:
        return str(self)


def _group(ports: list[Port]) -> str:
    first, last = ports[0], ports[-1]
    if first.private == last.private:
        return str(first)
    numbers = f"{first.private}-{last.private}"
    ip = f"[{first.ip}]" if ":" in first.ip else first.ip
    return f"{ip}:{numbers}->{numbers}/{first.protocol}" if first.public else f"{numbers}/{first.protocol}"


SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
}


def exit_status(code: int, out_of_memory: bool = False) -> str:
    """Return "exit status 137 (SIGKILL: out of memory)": the status and, when a signal ended it, which."""
    signal = SIGNALS.get(code - 128)
    why = f"{signal}: out of memory" if signal and out_of_memory else signal
    return f"exit status {code} ({why})" if why else f"exit status {code}"
