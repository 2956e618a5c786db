"""`login` and `logout`: passwords are asked for, never taken from what stays in a notebook."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.engine import ApiFailure
from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.logins import HUB, Login, Logins, hostname

_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{path}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""
_STAYS = (
    "a password in a cell stays in the notebook and its history: leave out {flag} and you are asked for it, or give a "
    "variable: -p {{password}}"
)


@click.command("login", cls=Command, usage="[OPTIONS] [SERVER]", at_most=1)
@flag("-u", "--username", "user", help="Username.")
@flag("-p", "--password", help="Password or Personal Access Token; better leave it out and be asked.")
@switch("--password-stdin", "from_stdin", help="Take the password from stdin.")
@click.argument("server", required=False)
@click.pass_obj
def login(session: Session, user: str, password: str, from_stdin: bool, server: str | None) -> Result:
    """Authenticate to a registry, Docker Hub if no server is named."""
    if from_stdin and password:
        raise UsageError("conflicting options: cannot specify both --password and --password-stdin", 1)
    if from_stdin and not user:
        raise UsageError("the --password-stdin option requires --username to be set", 1)
    if from_stdin:
        password = password_from_stdin(session)
    elif password:
        check_not_typed(session, password)
        session.door.note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    logins = Logins()
    address = HUB if server in (None, "", "docker.io") else hostname(str(server))
    known = Login(address) if user or password else logins.find(address)
    if known.user and known.password:
        session.door.note(f"Authenticating with existing credentials... [Username: {known.user}]")
        try:
            return _try(session, logins, replace(known, server=address))
        except ApiFailure as error:
            session.door.note(
                "Stored credentials invalid or expired"
                if error.status == 401
                else f"Login did not succeed, error: {error.message}"
            )
    return _try(session, logins, _asked(session, address, user, password, known.user))


def check_not_typed(session: Session, password: str) -> None:
    """Raise UsageError for a password that stands in a magic's line."""
    if re.search(rf"(?:^|\s)-{{1,2}}p(?:assword)?[\s=]*['\"]?{re.escape(password)}", session.line):
        raise UsageError(_STAYS.format(flag="-p"), 1)


def password_from_stdin(session: Session) -> str:
    """Read a password from standard input, which a cell has not. Raises UsageError, DosirakError for an empty one."""
    if session.door.escalates:
        raise UsageError(_STAYS.format(flag="--password-stdin"), 1)
    text = sys.stdin.read()
    for end in ("\r\n", "\n", "\r"):
        if text.endswith(end):
            text = text[: -len(end)]
            break
    if not text.strip():
        raise DosirakError("password is empty")
    return text


def _asked(session: Session, address: str, user: str, password: str, known: str) -> Login:
    """A login with what is missing asked for."""
    user = user.strip()
    if not user:
        _check_somebody_there(session)
        question = f"Username ({known}): " if known else "Username: "
        user = session.door.ask(question, "give -u USER").strip() or known
    if not user:
        raise DosirakError("error: username is required")
    if not password:
        _check_somebody_there(session)
        password = session.door.ask_secret("Password: ")
    if not password:
        raise DosirakError("error: password is required")
    return Login(address, user, password)


def _check_somebody_there(session: Session) -> None:
    if not (session.door.escalates or sys.stdin.isatty()):
        raise DosirakError("error: cannot perform an interactive login from a non-TTY device")


def _try(session: Session, logins: Logins, given: Login) -> Result:
    """Ask the registry, through the engine; keep what it took."""
    answer = session.engine.post("/auth", body=given.document)
    if token := answer.get("IdentityToken"):
        given = replace(given, password="", identity_token=token)
    if logins.keep(given):
        session.door.note(_UNENCRYPTED.format(path=logins.path))
    session.door.say(answer.get("Status") or "Login Succeeded")
    return Result()


@click.command("logout", cls=Command, usage="[SERVER]", at_most=1)
@click.argument("server", required=False)
@click.pass_obj
def logout(session: Session, server: str | None) -> Result:
    """Log out from a registry, Docker Hub if no server is named."""
    session.door.say(f"Removing login credentials for {hostname(server) if server else HUB}")
    Logins().forget(server or HUB)
    return Result()
