"""`registry ls`, `serve`, `stop`: where we are logged in, and the private registries over the engine's own store.

Ours alone; Docker has no such commands.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import click

from dosirak.magics.commands import many
from dosirak.magics.commands.logins import check_not_typed, password_from_stdin
from dosirak.magics.commands.present import listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.logins import HUB, Logins, hostname
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

_PATH = "/dosirak/registries"
_TITLES = ["REGISTRY", "KIND", "USER", "NOTE"]


@click.command("ls", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("-q", "--quiet", help="Return only the registries' names.")
@flag("--format", "template", help="json, table, or a Go template.")
@click.pass_obj
def ls(session: Session, quiet: bool, template: str) -> Result:
    """List the registries served here, and those we are logged in to; the value is a DataFrame."""
    served = session.engine.get(_PATH) if session.engine.is_dosirak else []
    rows = [_served(one) for one in served]
    rows += [_login(kept.server, kept.user, kept.where) for kept in Logins().all()]
    listing = Listing(_TITLES, rows, Look("registries"))
    names = [row["REGISTRY"] for row in rows] if quiet else None
    fields = [{title.title(): row[title] for title in _TITLES} for row in rows]
    return listing_result(listing, names, template, fields, {})


def _served(one: dict[str, Any]) -> dict[str, str]:
    notes = [*(["read only"] if one["ReadOnly"] else []), *(["TLS"] if one["TLS"] else [])]
    return {"REGISTRY": one["Address"], "KIND": "served", "USER": one["User"], "NOTE": ", ".join(notes)}


def _login(server: str, user: str, where: str) -> dict[str, str]:
    name = "docker.io" if server == HUB else hostname(server)
    return {"REGISTRY": name, "KIND": "login", "USER": user, "NOTE": f"kept in {where}"}


@click.command("serve", cls=Command, usage="[OPTIONS]", at_most=0)
@flag("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 for the whole network.")
@flag("--port", type=int, default=5000, help="Port; 0 for any free one.")
@switch("--readonly", "--read-only", "read_only", help="Let nobody push.")
@flag("-u", "--username", "user", help="Let in only this user; the password is asked for.")
@flag("-p", "--password", help="The user's password; better leave it out and be asked.")
@switch("--password-stdin", "from_stdin", help="Take the password from stdin.")
@flag("--htpasswd", help="Let in the users of this file (bcrypt, as htpasswd -B makes it); read again when it changes.")
@flag("--tlscert", help="Speak TLS with this certificate (a PEM file).")
@flag("--tlskey", help="The certificate's key (a PEM file).")
@click.pass_obj
def serve(
    session: Session,
    host: str,
    port: int,
    read_only: bool,
    user: str,
    password: str,
    from_stdin: bool,
    htpasswd: str,
    tlscert: str,
    tlskey: str,
) -> Result:
    """Serve the images of this engine as a private registry, until it is stopped; the value is its address.

    Others pull ADDRESS/ubuntu and push ADDRESS/anything; what they push is kept as localhost:PORT/anything here.
    """
    if (password or from_stdin) and not user:
        raise UsageError("a password needs a user: give -u USER", 1)
    if from_stdin:
        password = password_from_stdin(session)
    elif password:
        check_not_typed(session, password)
    elif user:
        password = session.door.ask_secret("Password: ")
    body = {
        "Host": host,
        "Port": port,
        "ReadOnly": read_only,
        "User": user,
        "Password": password,
        "Htpasswd": str(Path(htpasswd).resolve()) if htpasswd else "",
        "Certificate": str(Path(tlscert).resolve()) if tlscert else "",
        "Key": str(Path(tlskey).resolve()) if tlskey else "",
    }
    address = str(_engine(session).post(_PATH, body=body)["Address"])
    if not (user or htpasswd) and not read_only and not _is_loopback(address):
        session.door.note(
            f"WARNING: whoever reaches {address} can push images to this engine (see --readonly, -u, --htpasswd)"
        )
    return Result(address, address)


@click.command("stop", cls=Command, usage="ADDRESS [ADDRESS...]", at_least=1)
@click.argument("addresses", nargs=-1)
@click.pass_obj
def stop(session: Session, addresses: tuple[str, ...]) -> Result:
    """Stop serving registries; what was pushed to them stays."""
    engine = _engine(session)
    return many.told(session, addresses, lambda address: engine.delete(f"{_PATH}/{address}"))


def _engine(session: Session) -> Any:
    if not session.engine.is_dosirak:
        raise DosirakError(f"{session.engine.host} is not Dosirak's engine: it serves no registry")
    return session.engine


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
