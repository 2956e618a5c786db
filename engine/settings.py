"""Where an engine keeps its things, and its few knobs.

`DOSIRAK_ROOT` and `DOSIRAK_RUN` (and `dosirak.toml`) move the two directories; several roots live side by side.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosirak.engine.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Settings:
    """One engine's directories and limits.

    `data`: durable state (images, layers, containers). `run`: sockets, pid and lock files.
    `idle_timeout`: seconds without a request, a running container or a build after which the service ends.
    """

    data: Path
    run: Path
    idle_timeout: float = 300.0

    @property
    def socket(self) -> Path:
        """The Docker Engine API's unix socket."""
        return self.run / "dosirak.sock"


def load() -> Settings:
    """Settings of this user: environment first, then `dosirak.toml`, then the platform's defaults.

    Raises InvalidRequest when `dosirak.toml` can't be read as TOML, or nothing says where this user's things belong.
    """
    config = config_file()
    data = Path(os.environ.get("DOSIRAK_ROOT") or config.get("root") or _default_data())
    # An engine moved by its root alone gets its sockets inside it, so that two roots never share a lock.
    moved = "DOSIRAK_ROOT" in os.environ or "root" in config
    run = Path(os.environ.get("DOSIRAK_RUN") or config.get("run") or (data / "run" if moved else _default_run()))
    idle = float(os.environ.get("DOSIRAK_IDLE_TIMEOUT") or config.get("idle_timeout") or 300.0)
    return Settings(data.absolute(), run.absolute(), idle)


def _default_data() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/dosirak")
    if shared := os.environ.get("XDG_DATA_HOME"):
        return Path(shared, "dosirak")
    if home := _home():
        return Path(home, ".local/share/dosirak")
    raise InvalidRequest(f"user {os.geteuid()} has no home directory: set HOME, or DOSIRAK_ROOT to a folder of yours")


def _default_run() -> Path:
    if os.geteuid() == 0:
        return Path("/run/dosirak")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime, "dosirak")
    # Itself, not a folder in it: who starts the engine looks whose this one is, and others can make any name in /tmp.
    return Path(f"/tmp/dosirak-{os.geteuid()}")


def _home() -> Path | None:
    """The user's; None without HOME and an entry in passwd, as in a container that is given a number for a user."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def config_file() -> dict[str, Any]:
    """The first `dosirak.toml` there is: here, of this user, of this machine. Raises InvalidRequest.

    One that others wrote is passed over: whoever says where the sockets are is told all that clients send.
    """
    home = _home()
    folders = (Path(), *((home / ".config/dosirak",) if home else ()), Path("/etc/dosirak"))
    candidates = (folder / "dosirak.toml" for folder in folders)
    return next((found for path in candidates if _is_ours(path) and (found := read_file(path))), {})


def _is_ours(path: Path) -> bool:
    """Whether a file is this user's (also before sudo) or root's, and not for everybody to write."""
    try:
        found = path.stat()
    except OSError:
        return False
    owners = {"0", str(os.geteuid()), os.environ.get("SUDO_UID", "0")}
    return str(found.st_uid) in owners and not found.st_mode & 0o002


def read_file(path: Path) -> dict[str, Any]:
    """What a TOML file says; nothing when it can't be read. Raises InvalidRequest when it is no TOML."""
    try:
        text = path.read_text()
    except OSError:
        return {}
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path}: not valid TOML: {error.reason}") from error
    import tomllib  # the service starts without it where there is no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path}: not valid TOML: {error}") from error
