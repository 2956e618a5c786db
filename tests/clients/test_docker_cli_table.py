"""A table of the docker CLI's everyday commands: arguments, what stands on its two outputs, and its exit status."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.engines import Engine

ID = "[0-9a-f]{64}"
SHORT = "[0-9a-f]{12}"


@dataclass(frozen=True)
class Row:
    """One command and the regular expression that its whole output (standard output, then errors) matches."""

    command: str
    output: str
    code: int = 0
    rest: list[str] = field(default_factory=list)


def row(command: str, output: str, code: int = 0, *rest: str) -> Row:
    """A row; `rest` are further arguments, with blanks in them."""
    return Row(command, output, code, list(rest))


def refused(command: str, words: str, code: int) -> Row:
    """A row of a request that the engine refuses, in these words."""
    return Row(command, f"(?s).*Error response from daemon: {words}.*", code)


BOX = "--name box -h inner -e GREETING=hi -l tier=web -p 127.0.0.1::80 -p 127.0.0.1::53/udp -v stuff:/stuff"

CONTAINER = [
    row(f"run -d {BOX} busybox", f"{ID}", 0, "sh", "-c", "echo first; echo second >&2; exec sleep 1000"),
    row("ps", rf"CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES\n{SHORT} +busybox +\"sh -c .*box"),
    row("ps -q", SHORT),
    row("ps -q --no-trunc", ID),
    row("ps --format", r"box\|running\|busybox\|web", 0, '{{.Names}}|{{.State}}|{{.Image}}|{{.Label "tier"}}'),
    row("ps --format", r"\{\"Command\":.*\"Names\":\"box\".*\}", 0, "json"),
    row("ps --format", "NAMES +STATUS\nbox +Up .*", 0, "table {{.Names}}\t{{.Status}}"),
    row("ps -s --format", r"[\d.]+[kM]?B \(virtual [\d.]+MB\)", 0, "{{.Size}}"),
    row("ps -l -q", SHORT),
    row("ps -n 1 -q", SHORT),
    row("ps -q -f name=bo -f label=tier -f status=running -f ancestor=busybox -f volume=stuff -f expose=80", SHORT),
    row("ps -q -f network=bridge -f publish=1-65000", SHORT),
    row("ps -q -f network=none", ""),
    refused("ps -f nosuch=1", r"invalid filter 'nosuch'", 1),
    row("container ls -a --format", "stuff", 0, "{{.Mounts}}"),
    row("inspect -f", "/box running 0", 0, "{{.Name}} {{.State.Status}} {{.RestartCount}}", "box"),
    row("inspect -f", "inner bridge 127.0.0.1", 0,
        '{{.Config.Hostname}} {{.HostConfig.NetworkMode}} {{(index .NetworkSettings.Ports "80/tcp" 0).HostIp}}', "box"),
    row("inspect -f", r"volume stuff .*/stuff/_data /stuff local true", 0,
        "{{range .Mounts}}{{.Type}} {{.Name}} {{.Source}} {{.Destination}} {{.Driver}} {{.RW}}{{end}}", "box"),
    row("inspect -f", r"\{\"web\":\"tier\"\}|\{\"tier\":\"web\"\}", 0, "{{json .Config.Labels}}", "box"),
    row("inspect -f", r"\d+\.\d+\.\d+\.\d+", 0, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "box"),
    row("inspect -f", "template parsing error: .*", 64, "{{.Nothing", "box"),
    row("inspect --type image box", r"\[\]\n?Error response from daemon: No such image: box:latest", 1),
    row("inspect nosuch", r"\[\]\n?error: no such object: nosuch|\[\]\n?Error: No such object: nosuch", 1),
    row("inspect -s -f", r"\d+ \d+", 0, "{{.SizeRw}} {{.SizeRootFs}}", "box"),
    row("logs box", "first\nsecond"),
    row("logs -n 1 box", "first\nsecond|first|second"),
    row("logs -t box", r"\d{4}-\d\d-\d\dT[\d:.]+Z first\n\d{4}-\d\d-\d\dT[\d:.]+Z second"),
    row("logs --since 1h --until 2999-01-01T00:00:00Z box", "first\nsecond"),
    row("logs --since 2999-01-01T00:00:00Z box", ""),
    row("logs --details box", " ?first\n ?second"),
    refused("logs nosuch", "No such container: nosuch", 1),
    row("exec box", "hi inner", 0, "sh", "-c", "echo $GREETING $(hostname)"),
    row("exec -e X=1 -w /tmp -u 1000:1000 box", "1 /tmp 1000", 0, "sh", "-c", "echo $X $(pwd) $(id -u)"),
    row("exec box", "", 3, "sh", "-c", "exit 3"),
    row("exec box nosuch", ".*executable file not found in \\$PATH.*", 127),
    row("exec -d box touch /tmp/made", ""),
    refused("exec nosuch true", "No such container: nosuch", 1),
    row("port box", r"(53/udp -> 127.0.0.1:\d+\n?|80/tcp -> 127.0.0.1:\d+\n?){2}"),
    row("port box 80/tcp", r"127.0.0.1:\d+"),
    row("port box 81", "Error: No public port '81' published for box", 1),
    row("update --kernel-memory 50m box",
        r"box\nKernel memory limits are deprecated and not supported\. Limitation discarded\."),
    row("port box 53/tcp", "Error: No public port '53/tcp' published for box", 1),
    row("port box x", r'Error: invalid port \(x\): strconv.ParseUint: parsing "x": invalid syntax', 1),
    row("ps --format raw", r"(?s)container_id: [0-9a-f]{12}\nimage: .*\nports:.*"),
    row("ps --format {{.Nope}}", re.escape('failed to execute template: template: :1:2: executing "" at <.Nope>: '
        "can't evaluate field Nope in type *formatter.ContainerContext"), 1),
    row("ps --format {{.ID", "failed to parse template: template: :1: unclosed action", 1),
    row("network ls --format {{.Nope}}", re.escape('template parsing error: template: :1:2: executing "" at <.Nope>: '
        "can't evaluate field Nope in type *network.networkContext") + ".*", 1),
    row("top box", r"UID +PID +PPID +C +STIME +TTY +TIME +CMD\nroot +\d+ .*sleep 1000"),
    row("top box -o pid,comm", r"PID +COMMAND\n\d+ +sleep"),
    refused("run --name box busybox", r"Conflict. The container name \"/box\" is already", 125),
    row("rename box crate", ""),
    refused("rename nosuch other", r"No such container: nosuch\nError: failed to rename container named nosuch", 1),
    refused("rename crate crate",
        r"Renaming .* the same name as its current name\nError: failed to rename container named crate", 1),
    refused("kill nosuch", "cannot kill container: nosuch: No such container: nosuch", 1),
    refused("kill -s NOSUCH crate", "cannot kill container: crate: [Ii]nvalid signal: NOSUCH", 1),
    refused("kill -s 0x crate", "cannot kill container: crate: [Ii]nvalid signal: 0x", 1),
    refused("rm crate",
        r'cannot remove container "crate": container is running: stop the .* before removing or force remove', 1),
    row("restart -t 0 crate", "crate"),
    row("stop -t 0 crate", "crate"),
    row("stop crate", "crate"),
    row("wait crate", "137"),
    refused("kill crate", r'cannot kill container: crate: container [0-9a-f]{64} is not running', 1),
    refused("exec crate true", rf"container {ID} is not running", 1),
    row("ps -a -q -f exited=137", SHORT),
    row("ps -a --format", r"Exited \(137\) .*", 0, "{{.Status}}"),
    row("start crate", "crate"),
    refused("start nosuch", r"No such container: nosuch\n[Ee]rror: failed to start containers: nosuch", 1),
    refused("attach nosuch", "No such container: nosuch", 1),
    refused("wait nosuch", "No such container: nosuch", 1),
    refused("volume rm stuff", rf"remove stuff: volume is in use - \[{ID}\]", 1),
    row("rm -fv crate nosuch", "crate\nError response from daemon: No such container: nosuch"),
    row("ps -aq", ""),
    row("volume rm stuff", "stuff"),
]  # fmt: skip

ONE_SHOT = [
    row("run --rm busybox echo a b", "a b"),
    row("run --rm -i busybox cat", ""),
    row("run --rm --entrypoint echo busybox one", "one"),
    row("run --rm -u 1000 busybox id -u", "1000"),
    row("run --rm -w /made/here busybox pwd", "/made/here"),
    row("run --rm --read-only busybox touch /x", ".*Read-only file system", 1),
    row("run --rm --tmpfs /t:size=1m busybox df -k /t", r"(?s).* 1024 .*"),
    row("run --rm --network none busybox ls /sys/class/net", "lo"),
    row("run --rm --network host busybox true", ""),
    row("run --rm --add-host one:1.2.3.4 busybox grep one /etc/hosts", r"1.2.3.4\s+one"),
    row("run --rm --dns 9.9.9.9 --dns-search b busybox cat /etc/resolv.conf", r"(?s).*nameserver 9.9.9.9\nsearch b"),
    row("run --rm -m 32m --cpus 0.5 --pids-limit 50 busybox true", ""),
    row("run --rm --ulimit nofile=9:99 busybox", "9", 0, "sh", "-c", "ulimit -n"),
    row("run --rm -t --init --ulimit nofile=9 busybox", "9", 0, "sh", "-c", "ulimit -n"),
    row("run --rm --sysctl net.ipv4.ip_default_ttl=33 busybox cat /proc/sys/net/ipv4/ip_default_ttl", "33"),
    row("run --rm --cap-drop ALL busybox grep CapEff /proc/self/status", r"CapEff:\s+0+"),
    row("run --rm --shm-size 3m busybox df -k /dev/shm", "(?s).* 3072 .*"),
    row("run --rm --hostname a --domainname b.c busybox hostname", "a"),
    row("run --rm --mount type=tmpfs,target=/t,tmpfs-size=1048576 busybox df -k /t", r"(?s).* 1024 .*"),
    row("run --rm --mount type=bind,source=/nosuch,target=/t busybox true",
        '(?s)docker: .* invalid mount config for type "bind": bind source path does not exist: /nosuch.*', 125),
    row("run --rm -v /etc:/e:ro busybox touch /e/x", ".*Read-only file system", 1),
    row("run --rm busybox", "", 7, "sh", "-c", "exit 7"),
    refused("run --rm busybox nosuch", r"failed to create .*executable file not found in \$PATH", 127),
    row("run --rm busybox /etc/passwd", ".*permission denied.*", 126),
    refused("run --rm --name -bad busybox true", r"Invalid container name \(-bad\), only .* are allowed", 125),
    refused("run --rm -m 1m busybox true", "Minimum memory limit allowed is 6MB", 125),
    row("run --rm --restart always busybox true", ".*[Cc]onflicting options.*", 125),
    refused("run --rm --pull never --network container:nosuch busybox true", ".*No such container: nosuch", 125),
    refused("run --rm --network nosuch busybox true", ".*network nosuch not found", 125),
    refused("run --rm --cap-add NOSUCH busybox true", r'invalid CapAdd: unknown capability: "CAP_NOSUCH"', 125),
    refused("run --rm --runtime nosuch busybox true", "unknown or invalid runtime name: nosuch", 125),
    refused("run --rm --gpus all busybox true",
        r'could not select device driver "" with capabilities: \[\[gpu\]\]', 125),
    refused("create --pull never nosuch", "No such image: nosuch:latest", 1),
    row("run -d -p 99999:80 busybox", ".*invalid hostPort: 99999.*|.*[Ii]nvalid.*99999.*", 125),
]  # fmt: skip

THINGS = [
    row("version --format", r"1.51 Dosirak Engine", 0, "{{.Server.APIVersion}} {{.Server.Platform.Name}}"),
    row("info --format", "linux inactive json-file", 0, "{{.OSType}} {{.Swarm.LocalNodeState}} {{.LoggingDriver}}"),
    row("info", r"(?s).*Server Version: .*Storage Driver: overlayfs.*Cgroup Driver: cgroupfs.*"),
    row("system df", r"(?s)TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages .*\nContainers .*Volumes .*\nBuild Cache .*"),
    row("system df -v", "(?s)Images space usage:.*busybox.*Containers space.*Volumes space.*Build cache usage: .*"),
    row("system df --format", r"(\{\"Active\".*\}\n?){4}", 0, "{{json .}}"),
    row("images", r"REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\n(?s:.*)busybox +latest +[0-9a-f]{12}.*"),
    row("images -q busybox", SHORT),
    row("images --no-trunc -q busybox", f"sha256:{ID}"),
    row("images --digests busybox", r"REPOSITORY +TAG +DIGEST .*\n.*"),
    row("images --filter reference=busy* --format", "busybox:latest", 0, "{{.Repository}}:{{.Tag}}"),
    row("image ls -f dangling=true -q", ""),
    row("image inspect -f", "linux amd64|linux arm64", 0, "{{.Os}} {{.Architecture}}", "busybox"),
    row("image inspect nosuch", r"\[\]\n?Error response from daemon: No such image: nosuch:latest", 1),
    row("tag busybox other:1", ""),
    row("tag busybox UPPER", "[Ee]rror parsing reference: .*repository name.*must be lowercase", 1),
    refused("tag nosuch other:1", "No such image: nosuch:latest", 1),
    row("history --format", r"(?s).*", 0, "{{.ID}} {{.Size}}", "busybox"),
    row("rmi other:1", "Untagged: other:1"),
    refused("rmi nosuch", "No such image: nosuch:latest", 1),
    row("volume create --label a=b data", "data"),
    row("volume ls", r"DRIVER +VOLUME NAME\n(?s:.*)local +data"),
    row("volume ls -q -f label=a=b -f dangling=true -f driver=local -f name=da", "data"),
    row("volume inspect -f", "data local local b", 0, "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.a}}", "data"),
    row("volume inspect nosuch", r"\[\]\n?Error response from daemon: get nosuch: no such volume", 1),
    row("volume create -d nosuch other", ".*[Ee]rror.*nosuch.*", 1),
    row("volume rm data", "data"),
    refused("volume rm nosuch", "get nosuch: no such volume", 1),
    row("network ls", r"NETWORK ID +NAME +DRIVER +SCOPE\n[0-9a-f]{12} +bridge +bridge +local\n(?s:.*)"),
    row("network ls -q -f driver=host", SHORT),
    row("network inspect -f", r"bridge local false default \d+\.\d+\.0\.0/16", 0,
        "{{.Driver}} {{.Scope}} {{.Internal}} {{.IPAM.Driver}} {{(index .IPAM.Config 0).Subnet}}", "bridge"),
    row("network inspect nosuch", r"\[\]\n?Error response from daemon: network nosuch not found", 1),
    refused("login -u me -p secret registry.example", r"", 1),
    refused("search thing", r".*127\.0\.0\.1:1.*connection refused", 1),  # the suite's mirror, where nobody is
    refused("swarm init", "", 1),
    refused("service ls", "This node is not a swarm manager", 1),
    row("plugin ls", r"ID +NAME +DESCRIPTION +ENABLED"),
    row("buildx version", "(?s).*", 1),
    row("context ls --format", "(?s)default.*", 0, "{{.Name}}"),
]  # fmt: skip


@pytest.mark.parametrize("table", [CONTAINER, ONE_SHOT, THINGS], ids=["one container", "run", "the rest"])
def test_everyday_commands(docker: Callable[..., Any], engine: Engine, busybox: str, table: list[Row]) -> None:
    wrong = []
    for entry in table:
        done = docker(*entry.command.split(), *entry.rest, check=False)
        output = (done.stdout + done.stderr).strip()
        shown = re.sub(r"\n\nRun 'docker.*", "", output, flags=re.DOTALL)
        if done.returncode != entry.code or not re.fullmatch(entry.output, shown):
            wrong.append(f"docker {entry.command} {entry.rest or ''}: {done.returncode}\n    {output}")
    assert not wrong, "\n".join(["", *wrong])
