"""The command tree: every command's name, where it is, and what Docker has that Dosirak does not (yet)."""

from __future__ import annotations

from dosirak.magics.grammar.flags import Group

_LATER = "yet"
_NEVER_LISTS = "(it pushes images as they are)"
_NEVER = "(it has no swarm, no contexts and no plugins)"

_CONTAINER = {
    "run": "magics.commands.run:run",
    "create": "magics.commands.run:create",
    "start": "magics.commands.start:start",
    "attach": "magics.commands.start:attach",
    "exec": "magics.commands.execute:execute",
    "stop": "magics.commands.lifecycle:stop",
    "restart": "magics.commands.lifecycle:restart",
    "kill": "magics.commands.lifecycle:kill",
    "rm": "magics.commands.lifecycle:remove",
    "rename": "magics.commands.lifecycle:rename",
    "wait": "magics.commands.lifecycle:wait",
    "pause": "magics.commands.limits:pause",
    "unpause": "magics.commands.limits:unpause",
    "update": "magics.commands.limits:update",
    "stats": "magics.commands.stats:stats",
    "logs": "magics.commands.logs:logs",
    "top": "magics.commands.top:top",
    "cp": "magics.commands.files:cp",
    "diff": "magics.commands.files:diff",
    "commit": "magics.commands.files:commit",
    "export": "magics.commands.files:export",
    "port": "magics.commands.top:port",
}
_CONTAINER_ONLY = {
    **dict.fromkeys(("ps", "ls", "list"), "magics.commands.containers:ps"),
    "inspect": "magics.commands.inspect:inspect_container",
    "prune": "magics.commands.prune:containers",
}
_IMAGE = {
    "ls": "magics.commands.images:ls",
    "list": "magics.commands.images:ls",
    "rm": "magics.commands.images:remove",
    "inspect": "magics.commands.inspect:inspect_image",
    "load": "magics.commands.archives:load",
    "import": "magics.commands.archives:import_",
    "save": "magics.commands.archives:save",
    "pull": "magics.commands.pull:pull",
    "push": "magics.commands.pull:push",
    "tag": "magics.commands.images:tag",
    "history": "magics.commands.images:history",
    "build": "magics.commands.build:build",
    "prune": "magics.commands.prune:images",
    "search": "magics.commands.search:search",
}
_NETWORK = {
    "create": "magics.commands.networks:create",
    "ls": "magics.commands.networks:ls",
    "list": "magics.commands.networks:ls",
    "rm": "magics.commands.networks:remove",
    "remove": "magics.commands.networks:remove",
    "inspect": "magics.commands.inspect:inspect_network",
    "connect": "magics.commands.networks:connect",
    "disconnect": "magics.commands.networks:disconnect",
    "prune": "magics.commands.prune:networks",
}
_VOLUME = {
    "create": "magics.commands.volumes:create",
    **dict.fromkeys(("ls", "list"), "magics.commands.volumes:ls"),
    **dict.fromkeys(("rm", "remove"), "magics.commands.volumes:remove"),
    "inspect": "magics.commands.inspect:inspect_volume",
    "prune": "magics.commands.prune:volumes",
}
_SYSTEM = {"info": "magics.commands.system:info", "events": "magics.commands.system:events"}
_REGISTRY = {"login": "magics.commands.logins:login", "logout": "magics.commands.logins:logout"}
_OURS = {
    "topology": "magics.commands.topology:topology",
    "layers": "magics.commands.layers:layers",
    "status": "magics.commands.system:status",
    "doctor": "magics.commands.doctor:doctor",
}

container = Group("container", help="Manage containers.", loaders=_CONTAINER | _CONTAINER_ONLY)
image = Group("image", help="Manage images.", loaders=_IMAGE)
network = Group("network", help="Manage networks.", loaders=_NETWORK)
volume = Group("volume", help="Manage volumes.", loaders=_VOLUME, planned={"update": _NEVER})
registry = Group(
    "registry",
    help="Registries: log in and out, serve the images here as one.",
    loaders=_REGISTRY
    | dict.fromkeys(("ls", "list"), "magics.commands.registries:ls")
    | {"serve": "magics.commands.registries:serve", "stop": "magics.commands.registries:stop"},
)
system = Group(
    "system",
    help="Look at the engine.",
    loaders=_SYSTEM | {"df": "magics.commands.usage:df", "prune": "magics.commands.prune:system"},
)
builder = Group(
    "builder",
    help="Build images.",
    loaders={"build": "magics.commands.build:build", "prune": "magics.commands.prune:cache"},
)
dosirak = Group(
    "dosirak", help="Look after Dosirak itself.", loaders=_OURS | {"version": "magics.commands.system:version"}
)

manifest = Group(
    "manifest",
    help="Look at manifests in registries.",
    loaders={"inspect": "magics.commands.manifests:inspect"},
    planned=dict.fromkeys(("annotate", "create", "push", "rm"), _NEVER_LISTS),
)

_GROUPS = {
    name: f"magics.commands.tree:{name}"
    for name in ("container", "image", "network", "volume", "system", "builder", "manifest")
}
_OUR_GROUPS = {"registry": "magics.commands.tree:registry"}
_TOP = {
    **_CONTAINER,
    "ps": "magics.commands.containers:ps",
    "images": "magics.commands.images:ls",
    "rmi": "magics.commands.images:remove",
    "inspect": "magics.commands.inspect:inspect_any",
    **{name: _IMAGE[name] for name in ("build", "load", "save", "import", "pull", "push", "tag", "history")},
    "version": "magics.commands.system:version",
    **_SYSTEM,
    **_REGISTRY,
    "search": "magics.commands.search:search",
}
_TOP_PLANNED = {
    **dict.fromkeys(("compose", "buildx"), _LATER),
    **dict.fromkeys(("checkpoint", "context", "plugin", "trust"), _NEVER),
    **dict.fromkeys(("swarm", "node", "service", "stack", "secret", "config"), _NEVER),
}


def docker() -> Group:
    """Return the tree as the docker CLI spells it, for `%docker`."""
    return Group("docker", help="Docker's commands, on Dosirak's engine.", loaders=_TOP | _GROUPS, planned=_TOP_PLANNED)


def command_line() -> Group:
    """Return the `dosirak` command's tree: Docker's, and what is ours alone."""
    planned = {name: why for name, why in _TOP_PLANNED.items() if name != "service"}
    ours = {
        **_OURS,
        **_OUR_GROUPS,
        "service": "magics.commands.service:service",
        "kernel": "kernel.command:kernel",
    }
    return Group(
        "dosirak",
        help="Containers, in a notebook and here: Docker's commands on an engine that starts by itself.",
        loaders=_TOP | _GROUPS | ours,
        planned=planned,
    )
