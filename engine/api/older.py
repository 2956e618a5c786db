"""What a create request meant in an older version of the API (moby, api/server/router/container/container_routes.go).

A field that came later is left aside for a client that can't have meant it; what an older version did by itself is
done here; what would silently mean less than was asked is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dosirak.engine.containers import EndpointSettings
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from dosirak.engine.api.versions import Version
    from dosirak.engine.containers import CreateRequest, HostConfig, Mount

_MAC_IS_DEPRECATED = (
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
)
_DRIVER_IS_IGNORED = (
    "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use"
    " '--mount type=volume,volume-driver=...' instead"
)


def understand(request: CreateRequest, version: Version) -> list[str]:
    """Change `request` to what it means today. Returns warnings. Raises InvalidRequest in Docker's words."""
    host = request.host_config
    for mount in host.mounts or ():
        _mount(mount, version)
    _host(host, version)
    if version < (1, 44) and request.healthcheck is not None:
        request.healthcheck.start_interval = 0
    _endpoints(request, version)
    warnings = []
    if version >= (1, 48) and _ambiguous_driver(host):
        warnings.append(_DRIVER_IS_IGNORED)
    return warnings + _mac_address(request, version)


def _host(host: HostConfig, version: Version) -> None:
    if version < (1, 40):
        host.ipc_mode = host.ipc_mode or "shareable"
    if version < (1, 42):
        host.console_size = (0, 0)
    if version < (1, 43):
        host.annotations = None
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None


def _mount(mount: Mount, version: Version) -> None:
    bind = mount.bind_options
    if version < (1, 42):
        # Options of another type were not looked at then.
        mount.volume_options = mount.volume_options if mount.type == "volume" else None
        mount.tmpfs_options = mount.tmpfs_options if mount.type == "tmpfs" else None
        if bind is not None:
            bind.create_mountpoint = False
            bind.non_recursive = bind.non_recursive and version >= (1, 40)
    else:
        for kind in ("volume", "bind", "tmpfs"):
            if mount.type != kind and getattr(mount, f"{kind}_options") is not None:
                raise InvalidRequest(f'{kind.title()}Options must not be specified on mount type "{mount.type}"')
    for since, given, what in (
        ((1, 44), bind is not None and bind.read_only_force_recursive, "BindOptions.ReadOnlyForceRecursive"),
        ((1, 45), mount.volume_options is not None and mount.volume_options.subpath, "VolumeOptions.Subpath"),
        ((1, 48), mount.type == "image", 'Mount type "Image"'),
    ):
        if given and version < since:
            raise InvalidRequest(f"{what} needs API v{since[0]}.{since[1]} or newer")


def _ambiguous_driver(host: HostConfig) -> bool:
    def unnamed(mount: Mount) -> bool:
        driver = mount.volume_options.driver_config if mount.volume_options else None
        return mount.type == "volume" and not (driver and driver.name)

    return bool(host.volume_driver) and any(unnamed(mount) for mount in host.mounts or ())


def _endpoints(request: CreateRequest, version: Version) -> None:
    endpoints = request.networking_config.endpoints_config or {}
    if version < (1, 44) and len(endpoints) > 1:
        raise InvalidRequest(
            f"Container cannot be created with multiple network endpoints: {', '.join(sorted(endpoints))}"
        )
    if version < (1, 48):
        for endpoint in endpoints.values():
            if endpoint is not None:
                endpoint.gw_priority = 0


def _mac_address(request: CreateRequest, version: Version) -> list[str]:
    """The container's own address belongs to the endpoint of its network since 1.44. Returns warnings."""
    endpoints = dict(request.networking_config.endpoints_config or {})
    mode, address = request.host_config.network_mode, request.mac_address
    if not address:
        if version < (1, 44):
            for endpoint in endpoints.values():
                if endpoint is not None:
                    endpoint.mac_address = ""
        return []
    if mode in ("none", "host") or mode.startswith("container:"):
        if version < (1, 44):
            raise InvalidRequest("conflicting options: mac-address and the network mode")
        return [_MAC_IS_DEPRECATED]
    name = "bridge" if mode in ("", "default") else mode
    if mode != name and mode in endpoints:
        endpoints[name] = endpoints.pop(mode)
    if endpoints and name not in endpoints:
        if version >= (1, 44):
            raise InvalidRequest(
                "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match"
                " the identity of a network in NetworkSettings.Networks"
            )
        name = next(iter(endpoints))  # there is but one, and it was what such a client meant
    endpoint = endpoints.get(name) or EndpointSettings()
    if version >= (1, 44) and endpoint.mac_address not in ("", address):
        raise InvalidRequest(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be"
            " left empty"
        )
    endpoint.mac_address = address
    endpoints[name] = endpoint
    request.networking_config.endpoints_config = endpoints
    return [_MAC_IS_DEPRECATED] if version >= (1, 44) else []
