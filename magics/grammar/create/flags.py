"""The flags that `run` and `create` share, by subject, in the docker CLI's spelling."""

from __future__ import annotations

import os
from typing import Any

from dosirak.magics.grammar.create.mounts import parse_mount
from dosirak.magics.grammar.create.networking import parse_network
from dosirak.magics.grammar.create.resources import (
    parse_bytes_device,
    parse_device_rule,
    parse_operations_device,
    parse_weight,
    parse_weight_device,
)
from dosirak.magics.grammar.flags import flag, switch
from dosirak.magics.grammar.values import (
    ADDRESS,
    CPUS,
    DNS_SEARCH,
    DURATION,
    ENV,
    EXTRA_HOST,
    INT,
    LABEL,
    LINK,
    LIST,
    SIZE,
    STREAM,
    SWAP,
    SYSCTL,
    ULIMIT,
    value_type,
)

_MOUNT = value_type("mount", parse_mount)
_NETWORK = value_type("network", parse_network)
_DEVICE_RULE = value_type("list", parse_device_rule)
_WEIGHT = value_type("uint16", parse_weight)
_WEIGHT_DEVICE = value_type("list", parse_weight_device)
_BYTES_DEVICE = value_type("list", parse_bytes_device)
_OPERATIONS_DEVICE = value_type("list", parse_operations_device)

GENERAL = [
    flag("--name", help="Assign a name to the container."),
    flag("--pull", help="Pull the image first: always, missing or never.", default="missing"),
    switch("-q", "--quiet", help="Suppress the pull output."),
    flag("--platform", help="Set the platform.", default=os.environ.get("DOCKER_DEFAULT_PLATFORM", "")),
    flag("-a", "--attach", type=STREAM, many=True, help="Attach to STDIN, STDOUT or STDERR."),
    flag("-e", "--env", type=ENV, many=True, help="Set an environment variable."),
    flag("--env-file", type=LIST, many=True, help="Read environment variables from a file."),
    flag("--entrypoint", help="Overwrite the image's ENTRYPOINT."),
    flag("--group-add", type=LIST, many=True, help="Add an additional group."),
    flag("-h", "--hostname", help="The container's host name."),
    flag("--domainname", help="The container's NIS domain name."),
    switch("-i", "--interactive", help="Keep STDIN open even if not attached."),
    flag("-l", "--label", type=LABEL, many=True, help="Set a label."),
    flag("--label-file", type=LIST, many=True, help="Read labels from a file."),
    switch("--read-only", help="Mount the root filesystem read only."),
    flag("--restart", help="Restart policy: no, always, unless-stopped, on-failure[:n].", default="no"),
    flag("--stop-signal", help="Signal that stops the container."),
    flag("--stop-timeout", type=INT, default=0, help="Seconds to wait before it is killed."),
    flag("--sysctl", type=SYSCTL, many=True, help="Set a sysctl, name=value."),
    switch("-t", "--tty", help="Allocate a pseudo-TTY."),
    flag("--ulimit", type=ULIMIT, many=True, help="Set a ulimit, name=soft[:hard]."),
    flag("-u", "--user", help="User name or UID[:group]."),
    flag("-w", "--workdir", help="Working directory inside the container."),
    switch("--rm", help="Remove the container when it exits."),
    switch("--init", help="Run an init that forwards signals and reaps processes."),
    flag("--cidfile", help="Write the container's ID to a file."),
    flag("--annotation", type=LIST, many=True, help="Add an OCI annotation, key=value."),
]

SECURITY = [
    flag("--cap-add", type=LIST, many=True, help="Add a capability."),
    flag("--cap-drop", type=LIST, many=True, help="Drop a capability."),
    switch("--privileged", help="Give extended privileges."),
    flag("--security-opt", type=LIST, many=True, help="seccomp=…, apparmor=…, no-new-privileges, systempaths=…"),
    flag("--userns", help="User namespace: auto, auto:size=N, keep-id, container:NAME or host."),
    flag("--cgroupns", help="Cgroup namespace: host or private."),
    flag("--pid", help="PID namespace: host or container:NAME."),
    flag("--uts", help="UTS namespace: host."),
    flag("--time-offset", help="Clocks of its own: SECONDS, or boottime=SECONDS,monotonic=SECONDS."),
    flag("--ipc", help="IPC namespace: none, private, shareable, host or container:NAME."),
]

NETWORK = [
    flag("--network", "--net", "network", type=_NETWORK, many=True, help="none, host, container:NAME or a network."),
    flag("--network-alias", "--net-alias", "network_alias", type=LIST, many=True, help="A name on the network."),
    flag("-p", "--publish", type=LIST, many=True, help="Publish a port, [[ip:]host:]container[/proto]."),
    switch("-P", "--publish-all", help="Publish all exposed ports to random ports."),
    flag("--expose", type=LIST, many=True, help="Expose a port or a range of ports."),
    flag("--add-host", type=EXTRA_HOST, many=True, help="Add a line to /etc/hosts, host:ip."),
    flag("--dns", type=ADDRESS, many=True, help="Set a DNS server."),
    flag("--dns-option", "--dns-opt", "dns_option", type=LIST, many=True, help="Set a DNS option."),
    flag("--dns-search", type=DNS_SEARCH, many=True, help="Set a DNS search domain."),
    flag("--ip", help="IPv4 address."),
    flag("--ip6", help="IPv6 address."),
    flag("--link", type=LINK, many=True, help="Link to another container, name[:alias]."),
    flag("--link-local-ip", type=LIST, many=True, help="A link-local address."),
    flag("--mac-address", help="MAC address."),
]

STORAGE = [
    flag("-v", "--volume", type=LIST, many=True, help="Mount a volume or a path, source:target[:ro]."),
    flag("--mount", type=_MOUNT, many=True, help="Mount, type=…,src=…,dst=…."),
    flag("--tmpfs", type=LIST, many=True, help="Mount a tmpfs, target[:options]."),
    flag("--volumes-from", type=LIST, many=True, help="Mount another container's volumes."),
    flag("--volume-driver", help="Volume driver (local only)."),
    flag("--storage-opt", type=LIST, many=True, help="Storage option, size=…."),
    flag("--log-driver", help="Logging driver: json-file, local or none."),
    flag("--log-opt", type=LIST, many=True, help="Logging option, max-size=…, max-file=…."),
]

HEALTH = [
    flag("--health-cmd", help="Command that checks health."),
    flag("--health-interval", type=DURATION, default=0, help="Time between checks."),
    flag("--health-retries", type=INT, default=0, help="Failures in a row until unhealthy."),
    flag("--health-timeout", type=DURATION, default=0, help="Time one check may take."),
    flag("--health-start-period", type=DURATION, default=0, help="Time to start before failures count."),
    flag("--health-start-interval", type=DURATION, default=0, help="Time between checks while starting."),
    switch("--no-healthcheck", help="Disable the image's HEALTHCHECK."),
]

LIMITS = [
    flag("-m", "--memory", type=SIZE, default=0, help="Memory limit (512m, 2g)."),
    flag("--memory-reservation", type=SIZE, default=0, help="Memory soft limit."),
    flag("--memory-swap", type=SWAP, default=0, help="Memory plus swap; -1 for unlimited swap."),
    flag("--memory-swappiness", type=INT, default=-1, help="Swappiness, 0 to 100."),
    switch("--oom-kill-disable", help="Disable the OOM killer."),
    flag("--oom-score-adj", type=INT, default=0, help="The host's OOM preference, -1000 to 1000."),
    flag("--cpus", type=CPUS, default=0, help="Number of CPUs (1.5)."),
    flag("-c", "--cpu-shares", type=INT, default=0, help="CPU shares, relative."),
    flag("--cpu-period", type=INT, default=0, help="CFS period in microseconds."),
    flag("--cpu-quota", type=INT, default=0, help="CFS quota in microseconds."),
    flag("--cpu-rt-period", type=INT, default=0, help="Real-time period in microseconds."),
    flag("--cpu-rt-runtime", type=INT, default=0, help="Real-time runtime in microseconds."),
    flag("--cpuset-cpus", help="CPUs it may run on (0-3, 0,1)."),
    flag("--cpuset-mems", help="Memory nodes it may use."),
    flag("--pids-limit", type=INT, default=0, help="Number of processes; -1 for no limit."),
    flag("--shm-size", type=SIZE, default=0, help="Size of /dev/shm."),
    flag("--cgroup-parent", help="Parent cgroup."),
    flag("--device", type=LIST, many=True, help="Add a device, /dev/x[:/dev/y][:rwm]."),
    flag("--device-cgroup-rule", type=_DEVICE_RULE, many=True, help="Allow devices, 'c 13:* rwm'."),
    flag("--blkio-weight", type=_WEIGHT, default=0, help="Block IO weight, 10 to 1000."),
    flag("--blkio-weight-device", type=_WEIGHT_DEVICE, many=True, help="Block IO weight of a device."),
    flag("--device-read-bps", type=_BYTES_DEVICE, many=True, help="Limit reading, device:bytes a second."),
    flag("--device-write-bps", type=_BYTES_DEVICE, many=True, help="Limit writing, device:bytes a second."),
    flag("--device-read-iops", type=_OPERATIONS_DEVICE, many=True, help="Limit reads a second."),
    flag("--device-write-iops", type=_OPERATIONS_DEVICE, many=True, help="Limit writes a second."),
]

# Known, so that they get a clear line instead of "unknown flag".
LACKING = [
    flag("--gpus", help="Not supported.", hidden=True),
    flag("--runtime", help="Not supported.", hidden=True),
    flag("--isolation", help="Not supported.", hidden=True),
    flag("--cpu-count", help="Not supported.", hidden=True),
    flag("--cpu-percent", help="Not supported.", hidden=True),
    flag("--io-maxbandwidth", help="Not supported.", hidden=True),
    flag("--io-maxiops", help="Not supported.", hidden=True),
    flag("--kernel-memory", help="Not supported.", hidden=True),
    switch("--use-api-socket", help="Not supported.", hidden=True),
    switch("--disable-content-trust", default=True, help="Images' signatures are not looked at.", hidden=True),
]


def create_flags(command: Any) -> Any:
    """Decorate a callback with every flag of `create`."""
    for option in reversed([*GENERAL, *NETWORK, *STORAGE, *LIMITS, *SECURITY, *HEALTH, *LACKING]):
        command = option(command)
    return command
