"""A container that shows itself: docker-py's object with a picture of its present state."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import docker
import requests
from docker.models.containers import Container as DockerContainer

from dosirak.magics.look import theme, words
from dosirak.magics.look.html import Markup, card, dot, join, link, mono, tag
from dosirak.magics.look.text import one_line

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine


class Container(DockerContainer):  # type: ignore[misc]
    """docker-py's Container: `c.logs()`, `c.exec_run("ls")`, `c.stop()`, …; shown, it asks the engine how it is."""

    @classmethod
    def of(cls, engine: Engine, reference: str) -> Container:
        """Return the container `reference` (name, id or its beginning) as it is now."""
        client = engine.client
        return cls(attrs=engine.get(f"/containers/{reference}/json"), client=client, collection=client.containers)

    def __str__(self) -> str:
        """Return its name, so that `{c}` and `$c` name it in a magic's line."""
        return str(self.name or self.short_id)

    def __repr__(self) -> str:
        state = self._refresh()
        lines = [f"{one_line(self)}  {words.short_id(self.id)}  {state}"]
        lines += [f"  {name:<9} {one_line(value)}" for name, value in self._facts()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        state = self._refresh()
        found = self.attrs.get("State", {})
        colour = (
            theme.GREY if state == "removed" else theme.state_colour(found.get("Status", ""), found.get("ExitCode"))
        )
        head = tag(
            "div",
            dot(colour),
            " ",
            tag("b", self),
            join("  ", mono(words.short_id(self.id))),
            tag("span", f"  {state}", style=f"color:{theme.GREY}"),
        )
        rows = [(name, mono(value)) for name, value in self._facts() if name != "ports"]
        if ports := self._ports:
            rows.insert(2, ("ports", join(*_spaced([link(port, port.url) for port in ports]))))
        return card(head, rows)

    def _refresh(self) -> str:
        """Ask the engine again; return the state in Docker's words."""
        try:
            self.reload()
        except docker.errors.NotFound:
            return "removed"
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return f"{self._state} (as last seen: the engine does not answer)"
        return self._state

    @property
    def _state(self) -> str:
        state = self.attrs.get("State", {})
        status = str(state.get("Status", "unknown"))
        if status == "running":
            since = _unix(state.get("StartedAt"))
            return f"Up {words.duration(time.time() - since)}" if since else "Up"
        if status == "exited":
            since = _unix(state.get("FinishedAt"))
            memory = ", out of memory" if state.get("OOMKilled") else ""
            when = f" {words.ago(since, time.time())}" if since else ""
            return f"Exited ({state.get('ExitCode', 0)}{memory}){when}"
        return status.capitalize()

    @property
    def _ports(self) -> words.Ports:
        return words.Ports.of_settings(self.attrs.get("NetworkSettings", {}).get("Ports"))

    def _facts(self) -> list[tuple[str, str]]:
        attrs = self.attrs
        config = attrs.get("Config", {})
        command = " ".join([attrs.get("Path", ""), *(attrs.get("Args") or [])]).strip()
        facts = [
            ("image", config.get("Image", "")),
            ("command", words.shorten(command, 80)),
            ("ports", str(self._ports)),
            ("address", ", ".join(_addresses(attrs))),
            ("mounts", ", ".join(_mounts(attrs))),
            ("limits", ", ".join(_limits(attrs.get("HostConfig", {})))),
        ]
        return [(name, value) for name, value in facts if value]


def _spaced(parts: list[Markup]) -> list[Markup]:
    return [part for link_ in parts for part in (Markup("&ensp;"), link_)][1:]


def _addresses(attrs: dict[str, Any]) -> list[str]:
    networks = attrs.get("NetworkSettings", {}).get("Networks") or {}
    return [f"{n['IPAddress']} ({name})" for name, n in networks.items() if n.get("IPAddress")]


def _mounts(attrs: dict[str, Any]) -> list[str]:
    shown = []
    for mount in attrs.get("Mounts") or []:
        source = words.shorten(mount.get("Name") or mount.get("Source") or mount.get("Type", ""), 40)
        shown.append(f"{source} → {mount.get('Destination', '')}{'' if mount.get('RW', True) else ' (ro)'}")
    return shown


def _limits(host: dict[str, Any]) -> list[str]:
    limits = []
    if memory := host.get("Memory"):
        limits.append(f"memory {words.binary_size(memory)}")
    if cpus := host.get("NanoCpus"):
        limits.append(f"cpus {cpus / 1e9:g}")
    elif quota := host.get("CpuQuota"):
        limits.append(f"cpus {quota / (host.get('CpuPeriod') or 100_000):g}")
    if (pids := host.get("PidsLimit")) and pids > 0:
        limits.append(f"pids {pids}")
    return limits


def _unix(text: Any) -> float:
    """Return unix time of an RFC 3339 text; 0 for Docker's "never" (year 1)."""
    try:
        found = datetime.fromisoformat(str(text)[:19] + "+00:00")
    except ValueError:
        return 0.0
    return found.timestamp() if found.year > 1 else 0.0
