"""Our translation of `run`'s flags against the docker CLI itself: the same body, or the same error."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from dosirak.magics.errors import DosirakError
from dosirak.magics.grammar.create.body import build
from dosirak.magics.grammar.create.flags import create_flags
from dosirak.magics.grammar.flags import Command, switch
from support.recorder import Recorder

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker CLI is not installed")

SAME = """
busybox
busybox sh -c "echo <&> 'a b'"
--name web --platform linux/amd64 busybox
-it busybox sh
-i busybox cat
-a stdin -a STDOUT busybox
-t=false -i=true busybox
--rm=1 busybox -x --name inner
-e A=1 -e B= -e HOME -e NOT_SET_ANYWHERE busybox
-e=A=1 -eB=2 --env C=3 --env=D=4 busybox
--env-file {dir}/env -e LAST=1 busybox
-p 80 busybox
-p 8080:80 -p 127.0.0.1:8443:443/tcp -p 53:53/udp busybox
-p 1000-1002:2000-2002 busybox
-p 300-302:400 busybox
-p [::1]:80:80 -p ::1:81:81 busybox
-p 127.0.0.1::80 busybox
-p published=8080,target=80,protocol=udp busybox
-p 80:80 -p 81:80 busybox
-p 80/TCP busybox
-P --expose 9 --expose 100-102/udp busybox
-v /a:/b -v named:/c:ro -v /anon busybox
-v ./x:/y -v .:/z busybox
-v /a:/b:rw,z -v a:/x:nocopy busybox
--mount type=bind,src=/a,dst=/b,readonly busybox
--mount source=v,target=/v,volume-nocopy,volume-label=a=b,volume-driver=local,volume-opt=o=ro busybox
--mount type=volume,dst=/v,volume-subpath=x busybox
--mount type=tmpfs,dst=/q,tmpfs-mode=1770,tmpfs-size=64m busybox
--mount type=bind,src=.,dst=/x,ro,bind-propagation=rslave,bind-recursive=disabled,consistency=cached busybox
--mount type=bind,src=/x,dst=/x,ro=false,bind-recursive=enabled busybox
--mount '"type=bind","src=/a,b","dst=/x"' busybox
--tmpfs /run --tmpfs /tmp:size=1m,mode=1777 busybox
--volumes-from a --volumes-from b:ro busybox
-w /src -u 1000:1000 --group-add audio --group-add 44 busybox
--entrypoint sh busybox -c true
--entrypoint= busybox
--entrypoint "" busybox
-h box --domainname lan busybox
--network host busybox
--net none busybox
--network container:web busybox
--network foo --network-alias a --net-alias b --ip 10.0.0.2 --ip6 2001:db8::2 busybox
--network name=foo,alias=a,alias=b,ip=10.0.0.1,gw-priority=3 --network bar busybox
--network name=foo,mac-address=02:42:ac:11:00:09,driver-opt=x=y busybox
--network foo --link db:database --link c busybox
--link a:b busybox
--mac-address 02:42:ac:11:00:02 busybox
--network foo --link-local-ip 169.254.1.1 busybox
--dns 8.8.8.8 --dns-search example.com --dns-search . --dns-option ndots:2 --dns-opt rotate busybox
--add-host h:1.2.3.4 --add-host g=host-gateway --add-host v:::1 --add-host w=[::1] busybox
--restart no busybox
--restart always busybox
--restart on-failure busybox
--restart on-failure:5 busybox
--restart unless-stopped busybox
--restart "" busybox
--init busybox
--init=false busybox
--stop-signal SIGQUIT --stop-timeout 5 busybox
--stop-timeout 0 busybox
-l a=b --label c --label "d=e f" --label-file {dir}/labels busybox
--read-only --privileged busybox
--cap-add NET_ADMIN --cap-add=SYS_TIME --cap-drop ALL busybox
--cap-add all --cap-drop cap_chown --cap-drop CHOWN busybox
--mount type=volume,dst=/v,volume-nocopy=false busybox
--security-opt no-new-privileges busybox
--security-opt no-new-privileges=true --security-opt label=disable busybox
--security-opt seccomp=unconfined --security-opt apparmor:unconfined busybox
--security-opt systempaths=unconfined busybox
--security-opt seccomp={dir}/seccomp.json busybox
--device /dev/null busybox
--device /dev/zero:/dev/one:r --device /dev/fuse:rw busybox
--device-cgroup-rule 'c 13:* rwm' busybox
--ulimit nofile=1024 --ulimit nproc=10:20 --ulimit core=-1 busybox
--sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=1 busybox
--shm-size 64m busybox
--pid host --ipc host --uts host --userns host --cgroupns host busybox
--pid container:a --ipc container:b --cgroupns private busybox
-m 512m --memory-swap 1g --memory-reservation 256M --memory-swappiness 10 busybox
--memory 1.5GiB --memory-swap=-1 busybox
-m 1024 busybox
-m "6 MB" busybox
--oom-kill-disable --oom-score-adj -500 busybox
--cpus 1.5 --cpu-shares 512 busybox
--cpus .25 -c 2 busybox
--cpu-period 100000 --cpu-quota 50000 --cpuset-cpus 0-1 --cpuset-mems 0 busybox
--cpu-rt-period 1 --cpu-rt-runtime 2 busybox
--pids-limit 100 busybox
--pids-limit -1 busybox
--blkio-weight 500 --blkio-weight-device /dev/sda:200 busybox
--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2kb busybox
--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 busybox
--cgroup-parent /x busybox
--health-cmd "curl -f /" --health-interval 1m30s --health-retries 3 --health-timeout 5s busybox
--health-cmd x --health-start-period 1.5h --health-start-interval 250ms busybox
--no-healthcheck busybox
--log-driver json-file --log-opt max-size=10m --log-opt max-file=3 busybox
--log-driver none busybox
--annotation a=b --annotation c busybox
--storage-opt size=10G busybox
--volume-driver local busybox
--disable-content-trust busybox
-dit --rm busybox
""".strip().splitlines()

WRONG = """
--nmae x busybox
-x busybox
--name
-e
-p abc busybox
-p 80: busybox
-p a:80 busybox
-p 1.2.3.4.5:80:80 busybox
-p 80/foo busybox
-p 70000 busybox
-p 90-80 busybox
-p 300-302:400-401 busybox
-p published busybox
-p published=80,x busybox
--expose x busybox
--expose 1:2 busybox
-m x busybox
-m 5q busybox
-m -5 busybox
-m 5mbb busybox
--cpus a busybox
--cpus 0.0000000001 busybox
--memory-swappiness 200 busybox
--stop-timeout x busybox
--oom-score-adj 1.5 busybox
--blkio-weight -1 busybox
--blkio-weight-device sda:5 busybox
--blkio-weight-device /dev/sda:5 busybox
--device-read-bps /dev/sda:x busybox
--device-write-iops /dev/sda:1m busybox
--ulimit nofile busybox
--ulimit foo=1 busybox
--ulimit nofile=2:1 busybox
--ulimit nofile=1:2:3 busybox
--ulimit nofile=x busybox
--sysctl a=b busybox
-e =x busybox
-l =x busybox
-l "a b=c" busybox
--env-file /nonexistent busybox
--env-file {dir}/bad-env busybox
--label-file /nonexistent busybox
-v :/b busybox
-v /a:/b:ro:x busybox
-v "" busybox
--mount type=bind,src=/a busybox
--mount type=bind,src=/a,dst=/b,foo=1 busybox
--mount type=bind,src=/a,dst=/b,foo busybox
--mount type=bind,src=/a,dst=/b,volume-nocopy busybox
--mount type=tmpfs,dst=/x,tmpfs-size=q busybox
--mount type=bind,src=/a,dst=/b,bind-recursive=maybe busybox
--device a:b:c:d busybox
--device /dev/null:/x:q busybox
--device null busybox
--device-cgroup-rule x busybox
--pid x busybox
--pid container: busybox
--uts x busybox
--userns x busybox
--cgroupns x busybox
--restart on-failure:x busybox
--restart :3 busybox
--rm --restart always busybox
--pull sometimes busybox
--log-driver none --log-opt a=b busybox
--security-opt foo busybox
--security-opt seccomp=/nonexistent busybox
--storage-opt size busybox
--mac-address x busybox
--network host --network foo busybox
--network foo --network foo busybox
--network name=a,foo=b busybox
--network host --network-alias a busybox
--network name=foo,alias=a --network-alias b busybox
--link a:b:c busybox
--dns x busybox
--dns-search 1 busybox
--add-host x busybox
--add-host x:y busybox
-a foo busybox
--health-cmd x --no-healthcheck busybox
--health-interval -1s --health-cmd x busybox
--health-interval 5 busybox
--health-interval 5x busybox
--health-retries -1 busybox
--rm=maybe busybox

""".strip("\n").split("\n")


@click.command(cls=Command, usage="[OPTIONS] IMAGE [COMMAND] [ARG...]", at_least=1, interspersed=False)
@create_flags
@switch("-d", "--detach", help="")
@click.argument("image")
@click.argument("command", nargs=-1)
@click.pass_context
def create(ctx: click.Context, image: str, command: tuple[str, ...], **flags: Any) -> Any:
    given = frozenset(n for n in flags if ctx.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE)
    return build(flags, image, list(command), given=given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c")
    (path / "env").write_text("\ufeff# a comment\nX=1\n  Y=two words \nHOME\nUNSET_HERE\n\n")
    (path / "bad-env").write_text("A B=1\n")
    (path / "labels").write_text("from=file\nbare\n")
    (path / "seccomp.json").write_text('{ "defaultAction":\n "SCMP_ACT_ALLOW" }')
    return path


def ours(line: str, folder: Path) -> tuple[dict[str, str], Any]:
    ctx = create.make_context("docker create", shlex.split(line.format(dir=folder)))
    created = create.invoke(ctx)
    return created.query, created.document


def dockers(line: str, folder: Path) -> tuple[Any, Any]:
    """The query and body that the real CLI sends (create has no -d; run has)."""
    words = shlex.split(line.format(dir=folder))
    verb = "run" if words[0] == "-dit" else "create"
    with Recorder(folder / "s") as recorded:
        environment = {**os.environ, "DOCKER_HOST": recorded.host}
        result = subprocess.run(["docker", verb, *words], env=environment, capture_output=True, text=True)
        made = [r for r in recorded.requests if r.path == "/containers/create"]
    (folder / "s").unlink()
    if not made:
        return result.returncode, next(line for line in result.stderr.splitlines() if line.strip())
    return {key: values[0] for key, values in made[0].query.items()}, made[0].json


def normal(body: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(json.dumps(body))
    body["HostConfig"]["Binds"] = sorted(body["HostConfig"]["Binds"] or [])  # the CLI's order is a Go map's
    body["Env"] = sorted(body["Env"] or [])
    return body


@pytest.mark.parametrize("line", SAME)
def test_create_body_is_what_docker_sends(line: str, folder: Path) -> None:
    query, body = dockers(line, folder)
    our_query, our_body = ours(line, folder)
    assert normal(our_body) == normal(body)
    assert our_query == query


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_gets_docker_s_words(line: str, folder: Path) -> None:
    code, message = dockers(line, folder)
    with pytest.raises(DosirakError) as caught:
        ours(line, folder)
    theirs = message.removeprefix("docker: ")
    mine = caught.value.message
    assert mine == theirs or mine.startswith((f"{theirs};", f"{theirs} ("))
    assert caught.value.exit_code == code


def test_a_time_offset_is_an_annotation_that_docker_could_send_too(folder: Path) -> None:
    _, body = ours("--time-offset 60 --annotation a=b busybox", folder)
    assert body["HostConfig"]["Annotations"] == {"a": "b", "dosirak.time-offset": "60"}


# Flags that make nothing of a container: what they do is tested where it is done.
@pytest.mark.parametrize("mode", ["auto", "auto:size=1000", "keep-id", "container:web", "host"])
def test_user_namespaces_that_docker_does_not_know_are_asked_for_in_its_field(folder: Path, mode: str) -> None:
    _, body = ours(f"--userns {mode} busybox", folder)
    assert body["HostConfig"]["UsernsMode"] == mode


ELSEWHERE = {"--cidfile", "--detach", "--pull", "--quiet", "--time-offset", "--help"}
# Docker's flags for Windows, for plugins and services that are not here: refused by name, not as a typing mistake.
REFUSED = (
    *("--gpus", "--runtime", "--use-api-socket", "--kernel-memory", "--isolation"),
    *("--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops"),
)


def documented() -> set[str]:
    shown = subprocess.run(["docker", "create", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", shown, re.MULTILINE))


def test_every_flag_of_docker_create_is_known_and_compared() -> None:
    ours = {
        name: set(option.opts) for option in create.params if isinstance(option, click.Option) for name in option.opts
    }
    assert documented() - ours.keys() - ELSEWHERE == set()
    tried = {word.partition("=")[0] for line in SAME for word in shlex.split(line)}
    tried |= {f"-{word[1]}" for word in tried if word[:1] == "-" and word[1:2].isalpha()}
    untried = {name for name in documented() & ours.keys() if not ours[name] & tried}
    assert untried - ELSEWHERE - {*REFUSED} == set()


@pytest.mark.parametrize("flag", [*REFUSED, "--disable-content-trust"])
def test_what_is_not_supported_is_refused_by_name(flag: str, folder: Path) -> None:
    value = {"--use-api-socket": "true", "--disable-content-trust": "false"}.get(flag, "1")
    with pytest.raises(DosirakError, match=f"^{flag}.*: not supported by Dosirak"):
        ours(f"{flag}={value} busybox", folder)
