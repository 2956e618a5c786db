"""Where logins are kept and found: in a credential helper if one is configured for the registry, else in the file."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass

from dosirak.magics.errors import DosirakError
from dosirak.magics.logins.config import ConfigFile
from dosirak.magics.logins.helpers import Helper
from dosirak.magics.logins.model import HUB, Login, encoded, hostname, key_of


@dataclass(frozen=True)
class Kept:
    """A login that is kept: for which server, whose, and where ("config.json", or the helper's program)."""

    server: str
    user: str
    where: str


class Logins:
    """This user's logins, as they are when this is made."""

    def __init__(self) -> None:
        self._file = ConfigFile()

    @property
    def path(self) -> str:
        """The configuration file's path."""
        return str(self._file.path)

    def find(self, registry: str) -> Login:
        """The login for a registry's domain, or what a person calls it; an empty one without. Raises DosirakError."""
        key = key_of(registry)
        if helper := self._helper(key):
            return helper.get(key)
        logins = self._file.logins
        if key in logins:
            return logins[key]
        # Old clients wrote URLs.
        return next((login for name, login in logins.items() if hostname(name) == key), Login(key))

    def keep(self, login: Login) -> bool:
        """Keep a login; returns whether a password was written to the file as it is. Raises DosirakError."""
        if helper := self._helper(login.server):
            helper.put(login)
            self._file.put(Login(login.server))
            return False
        return self._file.put(login) and bool(login.password)

    def forget(self, server: str) -> None:
        """Forget the logins for a server, by all the names it may be kept under. Raises DosirakError."""
        host = hostname(server)
        names = [HUB] if key_of(server) == HUB else [server, host, f"http://{host}", f"https://{host}"]
        for name in dict.fromkeys(names):
            if helper := self._helper(name):
                helper.drop(name)
            self._file.drop(name)

    def all(self) -> list[Kept]:
        """Every login that is kept, without what is secret. Raises DosirakError."""
        found = {name: Kept(name, login.user, "config.json") for name, login in self._file.logins.items() if login}
        if default := self._default_helper():
            helper = Helper(default)
            found |= {server: Kept(server, user, helper.program) for server, user in helper.users().items()}
        for server, suffix in self._file.helpers.items():
            helper = Helper(suffix)
            if user := helper.users().get(server):
                found[server] = Kept(server, user, helper.program)
        return [found[server] for server in sorted(found)]

    def headers(self) -> dict[str, str]:
        """For a build, which may need any of them: `X-Registry-Config`; nothing where they can't be read."""
        logins: dict[str, dict[str, str]] = {}
        with contextlib.suppress(DosirakError):
            logins = {kept.server: self.find(kept.server).document for kept in self.all()}
        return {"X-Registry-Config": encoded(logins)} if logins else {}

    def _helper(self, server: str) -> Helper | None:
        suffix = self._file.helpers.get(server) or self._default_helper()
        return Helper(suffix) if suffix else None

    def _default_helper(self) -> str:
        if self._file.has_logins:
            return self._file.default_helper
        # As Docker's clients on Linux: the first login goes to a helper that is installed.
        suffix = "pass" if shutil.which("pass") else "secretservice"
        return suffix if shutil.which(f"docker-credential-{suffix}") else ""
