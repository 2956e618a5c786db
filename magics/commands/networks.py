"""`network create`, `ls`, `rm`, `connect`, `disconnect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dosirak.magics.commands import many
from dosirak.magics.commands.present import listing_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.create.keyvalues import pair_map
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.ipam import pools
from dosirak.magics.grammar.listing import filter_map, listing_flags
from dosirak.magics.grammar.values import INT, LABEL, LINK, LIST
from dosirak.magics.tables.columns import Look, word
from dosirak.magics.tables.listing import Listing


@click.command("create", cls=Command, usage="[OPTIONS] NETWORK", at_least=1, at_most=1)
@switch("--attachable", help="Accepted: there is no swarm to attach from.")
@flag("--aux-address", "reserved", type=LIST, many=True, help="Addresses no container gets, name=address.")
@flag("--config-from", help="The network to copy the configuration from (not supported).", hidden=True)
@switch("--config-only", help="Only a configuration (not supported).", hidden=True)
@flag("-d", "--driver", default="bridge", help="Driver (bridge).")
@flag("--gateway", "gateways", type=LIST, many=True, help="The bridge's own address in a subnet.")
@switch("--ingress", help="Swarm's routing mesh (not supported).", hidden=True)
@switch("--internal", help="Nothing leads out of it.")
@flag("--ip-range", "ranges", type=LIST, many=True, help="The part of a subnet that containers get.")
@flag("--ipam-driver", "ipam", default="default", help="Address management driver.")
@flag("--ipam-opt", "ipam_options", type=LIST, many=True, help="Address management option, key=value.")
@switch("--ipv4", default=True, help="Give IPv4 addresses.")
@switch("--ipv6", help="Give IPv6 addresses.")
@flag("--label", "labels", type=LABEL, many=True, help="Set a label.")
@flag("-o", "--opt", "options", type=LIST, many=True, help="Driver option, key=value.")
@flag("--scope", help="The network's scope.", hidden=True)
@flag("--subnet", "subnets", type=LIST, many=True, help="Subnet, as 10.5.0.0/16.")
@click.argument("network")
@click.pass_context
def create(ctx: click.Context, /, network: str, **flags: Any) -> Result:
    """Create a network; the value is the network."""
    session: Session = ctx.obj
    try:
        config = pools(flags["subnets"], flags["ranges"], flags["gateways"], pair_map(flags["reserved"]))
    except ValueError as error:
        raise UsageError(str(error), 1) from error
    body: dict[str, Any] = {
        "Name": network,
        "Driver": flags["driver"],
        "Scope": flags["scope"],
        "IPAM": {"Driver": flags["ipam"], "Options": pair_map(flags["ipam_options"]), "Config": config},
        "Internal": flags["internal"],
        "Attachable": flags["attachable"],
        "Ingress": flags["ingress"],
        "ConfigOnly": flags["config_only"],
        "ConfigFrom": {"Network": flags["config_from"]} if flags["config_from"] else None,
        "Options": pair_map(flags["options"]),
        "Labels": pair_map(flags["labels"]),
    }
    for name, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            body[key] = flags[name]
    answer = session.engine.post("/networks/create", body=body)
    if answer.get("Warning"):
        session.door.note(f"WARNING: {answer['Warning']}")
    from dosirak.magics.objects.network import Network

    return Result(Network.of(session.engine, answer["Id"]), answer["Id"])


@click.command("rm", cls=Command, usage="NETWORK [NETWORK...]", at_least=1)
@switch("-f", "--force", help="No error if there is none of that name.")
@click.argument("networks", nargs=-1)
@click.pass_obj
def remove(session: Session, networks: tuple[str, ...], force: bool) -> Result:
    """Remove networks."""
    from dosirak.magics.engine import ApiFailure

    def gone(name: str) -> None:
        try:
            session.engine.delete(f"/networks/{name}")
        except ApiFailure as error:
            if not (force and error.status == 404):
                raise

    return many.told(session, networks, gone)


@click.command("connect", cls=Command, usage="[OPTIONS] NETWORK CONTAINER", at_least=2, at_most=2)
@flag("--alias", "aliases", type=LIST, many=True, help="Another name for it on this network.")
@flag("--driver-opt", "options", type=LIST, many=True, help="Driver option, key=value.", hidden=True)
@flag("--gw-priority", "priority", type=INT, default=0, help="The highest is the way out.")
@flag("--ip", help="Its IPv4 address.")
@flag("--ip6", help="Its IPv6 address.")
@flag("--link", "links", type=LINK, many=True, help="A name of its own for another, container:name.")
@flag("--link-local-ip", "local", type=LIST, many=True, help="A link-local address.", hidden=True)
@click.argument("network")
@click.argument("container")
@click.pass_context
def connect(ctx: click.Context, /, network: str, container: str, **flags: Any) -> Result:
    """Connect a container, running or not, to one more network; the value is the container."""
    session: Session = ctx.obj
    addresses = {"IPv4Address": flags["ip"], "IPv6Address": flags["ip6"], "LinkLocalIPs": list(flags["local"] or ())}
    settings = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Links": list(flags["links"] or ()) or None,
        "Aliases": list(flags["aliases"] or ()) or None,
        "DriverOpts": pair_map(flags["options"]) or None,
        "GwPriority": flags["priority"] or 0,
    }
    body = {"Container": container, "EndpointConfig": settings}
    session.engine.post(f"/networks/{network}/connect", body=body)
    return _container(session, container)


@click.command("disconnect", cls=Command, usage="[OPTIONS] NETWORK CONTAINER", at_least=2, at_most=2)
@switch("-f", "--force", help="Even if the network can't be found.")
@click.argument("network")
@click.argument("container")
@click.pass_obj
def disconnect(session: Session, network: str, container: str, force: bool) -> Result:
    """Disconnect a container from a network; the value is the container."""
    session.engine.post(f"/networks/{network}/disconnect", body={"Container": container, "Force": force})
    return _container(session, container)


def _container(session: Session, name: str) -> Result:
    from dosirak.magics.objects.container import Container

    return Result(Container.of(session.engine, name))


@click.command("ls", cls=Command, usage="[OPTIONS]", at_most=0)
@listing_flags("Return only ids.")
@click.pass_obj
def ls(session: Session, quiet: bool, filters: tuple[tuple[str, str], ...], no_trunc: bool, template: str) -> Result:
    """List networks; the value is a DataFrame, with -q a list of ids."""
    found = session.engine.get("/networks", {"filters": filter_map(filters)})
    shown = sorted(found, key=lambda network: str(network.get("Name")))
    look = Look("networks", truncate=not no_trunc)
    rows = [
        {
            "NETWORK ID": network["Id"],
            "NAME": network.get("Name", ""),
            "DRIVER": network.get("Driver", ""),
            "SCOPE": network.get("Scope", ""),
        }
        for network in shown
    ]
    listing = Listing(["NETWORK ID", "NAME", "DRIVER", "SCOPE"], rows, look)
    ids = [word(look.kind, "NETWORK ID", row["NETWORK ID"], look) for row in rows]
    fields = [_fields(network, short) for network, short in zip(shown, ids, strict=True)]
    return listing_result(listing, ids if quiet else None, template, fields, {"ID": "NETWORK ID"})


def _fields(network: Mapping[str, Any], short: str) -> dict[str, Any]:
    """What a template sees (docker/cli, formatter.networkContext)."""
    labels = network.get("Labels") or {}
    return {
        "ID": short,
        "Name": network.get("Name", ""),
        "Driver": network.get("Driver", ""),
        "Scope": network.get("Scope", ""),
        "IPv4": str(network.get("EnableIPv4", True)).lower(),
        "IPv6": str(network.get("EnableIPv6", False)).lower(),
        "Internal": str(network.get("Internal", False)).lower(),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        "CreatedAt": network.get("Created", ""),
    }
