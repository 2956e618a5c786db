"""Credential helpers: `docker-credential-<suffix> get|store|erase|list`, each with its input on stdin.

Source: docker/docker-credential-helpers, README ("Development"): JSON in and out, failures as text on stdout.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

from dosirak.magics.errors import DosirakError
from dosirak.magics.logins.model import Login

_TOKEN_USER = "<token>"
"""The user's name under which a helper keeps an identity token."""
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SECONDS = 120.0
"""A helper may ask the person to unlock something."""


class Helper:
    """The program for one suffix. Raises DosirakError when it is missing, hangs or fails; never with what it keeps."""

    def __init__(self, suffix: str) -> None:
        if not _SUFFIX.fullmatch(suffix):
            raise DosirakError(f"error getting credentials: {suffix[:60]!r} is no credential helper's name")
        self.program = f"docker-credential-{suffix}"

    def get(self, server: str) -> Login:
        """The login for a server; an empty one if it keeps none."""
        said = self._run("get", server, "error getting credentials", absent="credentials not found")
        found = self._parse(said) if said else {}
        user, secret = str(found.get("Username") or ""), str(found.get("Secret") or "")
        if user == _TOKEN_USER:
            return Login(server, identity_token=secret)
        return Login(server, user, secret)

    def put(self, login: Login) -> None:
        """Keep a login."""
        user, secret = (_TOKEN_USER, login.identity_token) if login.identity_token else (login.user, login.password)
        document = json.dumps({"ServerURL": login.server, "Username": user, "Secret": secret})
        self._run("store", document, "error storing credentials")

    def drop(self, server: str) -> None:
        """Forget a login."""
        self._run("erase", server, "error erasing credentials", absent="credentials not found")

    def users(self) -> dict[str, str]:
        """Users' names by server."""
        said = self._run("list", "unused", "error listing credentials")
        return {str(server): str(user) for server, user in self._parse(said).items()}

    def _parse(self, said: str) -> dict[str, Any]:
        try:
            found = json.loads(said)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DosirakError(f"error getting credentials: {self.program} said no JSON object")
        return found

    def _run(self, action: str, given: str, what: str, absent: str = "") -> str:
        path = shutil.which(self.program)
        if path is None:
            raise DosirakError(f'{what} - err: exec: "{self.program}": executable file not found in $PATH')
        try:
            done = subprocess.run(  # noqa: S603  # the program that the person's own configuration names
                [path, action], input=given, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            # Its arguments would show what was sent.
            raise DosirakError(f"{what} - err: {self.program}: {type(error).__name__}") from None
        if done.returncode == 0:
            return done.stdout.strip()
        if absent and absent in done.stdout:
            return ""
        said = " ".join(done.stdout.split())[:300] if action != "store" else "it failed"
        raise DosirakError(f"{what} - err: exit status {done.returncode}, out: `{said}`")
