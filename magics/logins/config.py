"""`config.json` of Docker's clients: only what concerns logins is understood, all else is kept as it is."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dosirak.magics.errors import DosirakError
from dosirak.magics.logins.model import Login


class ConfigFile:
    """The file of this user (`DOCKER_CONFIG` names another folder), read when it is made."""

    def __init__(self) -> None:
        folder = os.environ.get("DOCKER_CONFIG")
        self.path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
        self._document = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self.path.read_text() or "{}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
            raise DosirakError(f"Error loading config file: {self.path}: {reason}") from None
        if not isinstance(document, dict):
            raise DosirakError(f"Error loading config file: {self.path}: no JSON object")
        return document

    @property
    def default_helper(self) -> str:
        """The suffix of the helper for every registry without one of its own, "" if there is none."""
        return str(self._document.get("credsStore") or "")

    @property
    def helpers(self) -> dict[str, str]:
        """Helpers' suffixes by registry."""
        return {str(name): str(suffix) for name, suffix in _table(self._document.get("credHelpers")).items()}

    @property
    def has_logins(self) -> bool:
        """Whether the file says anything of logins: else Docker looks for a helper itself."""
        return bool(self._document.get("auths") or self.default_helper or self.helpers)

    @property
    def logins(self) -> dict[str, Login]:
        """What stands in the file itself, by the registries' names there."""
        return {name: _login(name, entry) for name, entry in _table(self._document.get("auths")).items()}

    def put(self, login: Login) -> bool:
        """Write a login down; returns whether anything changed. Raises DosirakError."""
        auths = _table(self._document.get("auths"))
        entry = _entry(login)
        if auths.get(login.server) == entry:
            return False
        self._document["auths"] = {**auths, login.server: entry}
        self._write()
        return True

    def drop(self, server: str) -> None:
        """Forget a login. Raises DosirakError."""
        auths = _table(self._document.get("auths"))
        if server in auths:
            self._document["auths"] = {name: entry for name, entry in auths.items() if name != server}
            self._write()

    def _write(self) -> None:
        target = self.path.resolve()
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Never readable for others, not even for a moment; a killed one leaves the old file whole.
            descriptor, name = tempfile.mkstemp(prefix="config.json", dir=target.parent)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(json.dumps(self._document, indent="\t"))
                    with contextlib.suppress(OSError):
                        before = target.stat()
                        os.fchmod(file.fileno(), before.st_mode & 0o777)
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink()
                raise
        except OSError as error:
            raise DosirakError(f"error saving credentials: {self.path}: {error.strerror}") from None


def _table(found: Any) -> dict[str, Any]:
    return dict(found) if isinstance(found, Mapping) else {}


def _entry(login: Login) -> dict[str, str]:
    auth = base64.b64encode(f"{login.user}:{login.password}".encode()).decode() if login.user else ""
    fields = {"auth": auth, "identitytoken": login.identity_token, "registrytoken": login.registry_token}
    return {name: value for name, value in fields.items() if value}


def _login(server: str, entry: Any) -> Login:
    fields = _table(entry)
    user, password = str(fields.get("username") or ""), str(fields.get("password") or "")
    if auth := fields.get("auth"):
        try:
            user, colon, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            colon = ""
        if not colon or not user:
            raise DosirakError(f"Error loading config file: the login for {server} is no user and password")
        password = password.strip("\0")
    tokens = (str(fields.get(name) or "") for name in ("identitytoken", "registrytoken"))
    return Login(server, user, password, *tokens)
