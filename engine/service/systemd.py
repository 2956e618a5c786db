"""What is asked of systemd over D-Bus (org.freedesktop.systemd1(5)): a transient scope for this process."""

from __future__ import annotations

import os
from typing import Any

from jeepney import DBusAddress, DBusErrorResponse, MatchRule, Message, message_bus, new_method_call
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.wrappers import unwrap_msg

_MANAGER = DBusAddress(
    "/org/freedesktop/systemd1", bus_name="org.freedesktop.systemd1", interface="org.freedesktop.systemd1.Manager"
)
_PATIENCE = 10.0
_UNLIMITED = 2**64 - 1
_EXISTS = "org.freedesktop.systemd1.UnitExists"


class Refused(Exception):
    """There is no bus, or systemd said no; says why."""


def move_into(name: str, inner: str) -> None:
    """Move this process into a scope, made if it isn't there: then into its group `inner`. Raises Refused.

    Parameters: `name`: "x.scope". As root of the system's manager, else of the user's own.
    """
    try:
        with _connect() as bus:
            try:
                _start(bus, name)
            except DBusErrorResponse as error:
                if error.name != _EXISTS:
                    raise
                # Of a service that was killed. By systemd, since a user may not take a process out of a session.
                _call(bus, "AttachProcessesToUnit", "ssau", (name, f"/{inner}", [os.getpid()]))
    except DBusErrorResponse as error:
        raise Refused(f"{error.name}: {' '.join(map(str, error.data))}") from error
    except TimeoutError as error:
        raise Refused(f"no answer within {_PATIENCE:g} s") from error
    except (OSError, AuthenticationError) as error:
        raise Refused(f"no bus: {error}") from error


def _connect() -> DBusConnection:
    if os.geteuid() == 0:
        return open_dbus_connection("SYSTEM", auth_timeout=_PATIENCE)
    if "DBUS_SESSION_BUS_ADDRESS" in os.environ:
        return open_dbus_connection("SESSION", auth_timeout=_PATIENCE)
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return open_dbus_connection(f"unix:path={folder}/bus", auth_timeout=_PATIENCE)


def _start(bus: DBusConnection, name: str) -> None:
    """Start the scope and wait for it: only then is this process in it."""
    ends = MatchRule(type="signal", interface=_MANAGER.interface, member="JobRemoved", path=_MANAGER.object_path)
    _ask(bus, message_bus.AddMatch(ends))
    with bus.filter(ends, bufsize=100) as signals:
        (job,) = _call(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "fail", properties(), []))
        while True:
            _, ended, _, result = bus.recv_until_filtered(signals, timeout=_PATIENCE).body
            if ended == job:
                break
    if result != "done":
        raise Refused(f"the job for {name}: {result}")


def properties() -> list[tuple[str, tuple[str, Any]]]:
    """The scope's (systemd.scope(5), systemd.resource-control(5)), with their D-Bus types."""
    return [
        ("Description", ("s", "Dosirak containers")),
        ("Slice", ("s", "system.slice" if os.geteuid() == 0 else "app.slice")),
        ("PIDs", ("au", [os.getpid()])),
        ("Delegate", ("b", True)),
        # Containers have limits of their own; the default would be a share of the machine's for all of them together.
        ("TasksMax", ("t", _UNLIMITED)),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]


def _call(bus: DBusConnection, method: str, signature: str, body: tuple[Any, ...]) -> tuple[Any, ...]:
    return _ask(bus, new_method_call(_MANAGER, method, signature, body))


def _ask(bus: DBusConnection, message: Message) -> tuple[Any, ...]:
    answer: tuple[Any, ...] = unwrap_msg(bus.send_and_get_reply(message, timeout=_PATIENCE))
    return answer
