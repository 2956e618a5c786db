"""`--userns`: root inside is nobody outside, and nothing on disk shows it."""

from __future__ import annotations

import http.client
import io
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine, wait_for

from .conftest import Box, namespaces

AUTO = ("--annotation", "dosirak.userns=auto")


def span(container: Box) -> range:
    """The host's ids of a container."""
    inside, outside, size = map(int, (container.proc / "uid_map").read_text().split())
    assert inside == 0
    assert (container.proc / "gid_map").read_text().split() == ["0", str(outside), str(size)]
    return range(outside, outside + size)


def archive(container: Box, path: str) -> dict[str, tuple[int, int]]:
    """Owners in the tar that `docker cp` gets."""
    pieces, _ = container.engine.client.api.get_archive(container.id, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as found:
        return {entry.name: (entry.uid, entry.gid) for entry in found}


def test_each_container_has_ids_of_its_own_and_root_is_nobody_outside(box: Callable[..., Box]) -> None:
    first, second = box(*AUTO), box("--annotation", "dosirak.userns=auto:size=2048")
    assert len(span(first)) == 65536
    assert len(span(second)) == 2048
    assert not set(span(first)) & set(span(second))
    assert first.proc.stat().st_uid == span(first)[0] >= 0x70000000
    assert first.sh("id -u; id -u", "-u", "1000") == "1000\n1000"
    assert not set(first.namespaces().values()) & set(namespaces("self").values())
    assert first.engine.client.api.inspect_container(first.id)["HostConfig"]["UsernsMode"] == "auto"


def test_the_images_files_have_their_owners_and_what_is_written_has_too(box: Callable[..., Box]) -> None:
    container = box(*AUTO)
    assert container.sh("stat -c %u:%g /bin/busybox /etc/passwd /etc/hosts / /tmp").split() == ["0:0"] * 5
    container.sh(
        "echo mine > /root/mine; chown 1000:29 /root/mine; echo x >> /etc/passwd; rm /etc/group; mkdir /etc/new"
    )
    upper = Path(container.engine.client.api.inspect_container(container.id)["GraphDriver"]["Data"]["UpperDir"])
    on_disk = {name: (upper / name).lstat() for name in ("root/mine", "etc/passwd", "etc/group", "etc/new")}
    assert (on_disk["root/mine"].st_uid, on_disk["root/mine"].st_gid) == (1000, 29)
    assert {found.st_uid for name, found in on_disk.items() if name != "root/mine"} == {0}
    assert on_disk["etc/group"].st_rdev == 0  # a whiteout


def test_root_inside_may_do_nothing_to_the_host(box: Callable[..., Box], tmp_path: Path) -> None:
    (tmp_path / "roots").write_text("the host's")
    (tmp_path / "roots").chmod(0o600)
    tmp_path.chmod(0o755)
    container = box(*AUTO, "--cap-add", "ALL", "--security-opt", "seccomp=unconfined", "-v", f"{tmp_path}:/host")
    assert container.sh("stat -c %u:%g /host/roots") == "65534:65534"
    assert "Permission denied" in container.sh("cat /host/roots", check=False)
    assert "Operation not permitted" in container.sh("mknod /disk b 8 0", check=False)
    assert "are you root?" in container.sh("mount -t ext4 /dev/null /tmp", check=False)
    assert container.sh("mount -t tmpfs none /tmp && echo mounted") == "mounted"  # of its own it may
    # The control: without a user namespace root is root.
    assert box("-v", f"{tmp_path}:/host").sh("cat /host/roots") == "the host's"


@pytest.mark.skipif(not Path("/dev/loop-control").exists(), reason="this host has no /dev/loop-control")
def test_a_device_of_the_hosts_is_as_it_is_there(box: Callable[..., Box]) -> None:
    container = box(
        *AUTO, "--device", "/dev/loop-control:/dev/it", "--device", "/dev/null:/dev/other", "--device", "/dev/zero"
    )
    assert container.sh("stat -c %t:%T:%u /dev/it; echo x > /dev/other; cat /dev/other") == "a:ed:65534"
    before = Path("/dev/loop-control").stat()
    assert (before.st_uid, container.engine.docker("rm", "-f", container.id).returncode) == (0, 0)


def test_a_bind_can_be_mapped_where_it_is_asked_for(box: Callable[..., Box], tmp_path: Path) -> None:
    (tmp_path / "users").write_text("x")
    os.chown(tmp_path / "users", 1000, 1000)
    container = box(*AUTO, "-v", f"{tmp_path}:/host:idmap")
    assert container.sh("stat -c %u /host/users; echo new > /host/new").split() == ["1000"]
    assert (tmp_path / "new").stat().st_uid == 0


def test_volumes_are_the_same_for_all(box: Callable[..., Box]) -> None:
    mapped, plain, other = (box(*flags, "-v", "shared:/data") for flags in (AUTO, (), AUTO))
    mapped.sh("echo 1 > /data/mapped; chown 1000 /data/mapped")
    plain.sh("echo 1 > /data/plain; chown 1001 /data/plain")
    for container in (mapped, plain, other):
        assert container.sh("stat -c %u /data/mapped /data/plain").split() == ["1000", "1001"]


def test_files_go_in_and_out_with_the_ids_inside(box: Callable[..., Box], tmp_path: Path) -> None:
    container = box(*AUTO, "-v", "inside:/data", "--tmpfs", "/tmpfs")
    container.sh("for d in /srv /data /tmpfs; do mkdir -p $d/d; echo x > $d/d/f; chown -R 1000:29 $d/d; done")
    given = io.BytesIO()
    with tarfile.open(fileobj=given, mode="w") as made:
        entry = tarfile.TarInfo("new/file")
        entry.uid, entry.gid = 5, 6
        made.addfile(entry)
    for running in (True, False):
        if not running:
            container.engine.docker("stop", "-t", "0", container.id)
        for place in ("/srv", "/data", *(["/tmpfs"] if running else [])):
            assert archive(container, f"{place}/d") == {"d/": (1000, 29), "d/f": (1000, 29)} or archive(
                container, f"{place}/d"
            ) == {"d": (1000, 29), "d/f": (1000, 29)}
            assert container.engine.client.api.put_archive(container.id, place, given.getvalue())
            found = archive(container, f"{place}/new")
            assert {owner for name, owner in found.items() if name.endswith("file")} == {(5, 6)}, place
            assert {owner for name, owner in found.items() if not name.endswith("file")} == {(0, 0)}, place


def test_an_image_of_it_and_its_differences_know_nothing_of_a_user_namespace(
    box: Callable[..., Box], engine: Engine
) -> None:
    container = box(*AUTO)
    container.sh("echo mine > /root/mine; chown 1000:29 /root/mine; rm /etc/group")
    changed = set(engine.docker("diff", container.id).stdout.splitlines())
    assert {"A /root/mine", "D /etc/group"} <= changed
    exported = b"".join(engine.client.api.export(container.id))
    with tarfile.open(fileobj=io.BytesIO(exported)) as found:
        assert (found.getmember("root/mine").uid, found.getmember("root/mine").gid) == (1000, 29)
        assert max(entry.uid for entry in found) == 1000
    engine.docker("commit", container.id, "from-mapped")
    said = engine.docker("build", "--no-cache", "-", stdin="FROM from-mapped\nRUN stat -c 'is %u:%g' /root/mine").stdout
    assert "is 1000:29" in said
    assert (
        box(*AUTO, image="from-mapped")
        .sh("stat -c %u:%g /root/mine; ls /etc/group; true", check=False)
        .startswith("1000:29")
    )


def test_everything_else_works_as_usual(box: Callable[..., Box], engine: Engine) -> None:
    web = box(
        *AUTO,
        *("-p", "127.0.0.1::80", "--name", "web", "-t", "--memory", "64m", "--hostname", "lunch"),
        *("--health-cmd", "test -e /ready", "--health-interval", "1s"),
    )
    web.sh("echo hello > /ready; busybox httpd -p 80 -h /")
    published = web.engine.client.api.inspect_container(web.id)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    asked = http.client.HTTPConnection("127.0.0.1", int(published), timeout=20)
    asked.request("GET", "/ready")
    assert asked.getresponse().read() == b"hello\n"
    asked.close()
    assert "hello" in box(*AUTO, "--link", "web").sh("wget -qO- http://web/ready")
    assert web.sh("ping -c 1 127.0.0.1 > /dev/null && hostname") == "lunch"
    assert web.sh("stat -c %u /dev/pts/0 /proc/1/fd/0; echo $PPID > /dev/stdout", "-t").split()[:2] == ["0", "0"]
    assert web.sh("cat /proc/self/status | grep -c CapEff") == "1"
    wait_for(lambda: web.engine.client.api.inspect_container(web.id)["State"]["Health"]["Status"] == "healthy", 30)
    assert "/ 64MiB" in engine.docker("stats", "--no-stream", web.id).stdout
    engine.docker("network", "create", "later")
    engine.docker("network", "connect", "later", web.id)
    assert web.sh("ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    before = span(web)
    engine.docker("restart", "-t", "0", web.id)
    assert span(web) == before
    engine.docker("update", "--restart", "always", web.id)
    pid = web.pid
    os.kill(pid, 9)
    wait_for(lambda: web.pid not in (0, pid), 30)
    assert span(web) == before
    assert web.sh("ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    engine.docker("rm", "-f", web.id)
    engine.docker("network", "rm", "later")


WITH = [
    "--init",
    "--read-only --tmpfs /new:uid=5",
    "--ipc shareable",
    "--ipc none",
    "--uts host",
    "--cgroupns host",
    "--network none",
    "--network later --ip 10.99.0.9 --network-alias me",
    "--mac-address 02:42:ac:11:00:77",
    "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=9000",
    "--security-opt systempaths=unconfined",
    "--security-opt no-new-privileges --cap-drop ALL",
    "--user user -w /made",
    "--group-add 60",
    "--device-cgroup-rule=c_10:200_rwm",
    "--oom-score-adj 300",
    "--ulimit nofile=50:60",
    "--mount type=tmpfs,dst=/new",
    "--mount type=image,src=busybox,dst=/image",
    "--memory 32m --pids-limit 20 --cpus 0.5",
    "--volume /anonymous --add-host a:1.2.3.4 --dns 1.1.1.1",
    "--shm-size 1m --log-driver local",
]


def test_it_goes_with_whatever_else_is_asked_for(box: Callable[..., Box], engine: Engine) -> None:
    engine.docker("network", "create", "--subnet", "10.99.0.0/24", "later")
    wrong = []
    for flags in WITH:
        container = box(*AUTO, *(word.replace("_", " ") if "=c_" in word else word for word in flags.split()))
        said = container.sh("cat /proc/self/uid_map | wc -l; cat /etc/hosts > /dev/null && echo fine", check=False)
        if said != "1\nfine":
            wrong.append(f"{flags}: {said}")
        engine.docker("rm", "-fv", container.id)
    engine.docker("network", "rm", "later")
    assert not wrong, "\n".join(wrong)


def test_a_file_may_give_capabilities_inside(box: Callable[..., Box], engine: Engine) -> None:
    container = box(*AUTO)
    # security.capability, version 2: effective, CAP_NET_BIND_SERVICE permitted (linux/capability.h).
    value = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    container.sh("cp /bin/busybox /root/busy; chmod 755 /root; ln -s busy /root/cat")
    upper = Path(engine.client.api.inspect_container(container.id)["GraphDriver"]["Data"]["UpperDir"])
    os.setxattr(upper / "root/busy", "security.capability", value)
    script = "/root/cat /proc/self/status | grep CapEff"
    assert container.sh(script, "-u", "1000").split()[1] == f"{1 << 10:016x}"


def test_the_user_namespace_of_another_container_is_joined(box: Callable[..., Box], engine: Engine) -> None:
    first = box(*AUTO, "--name", "first")
    joined = box("--annotation", "dosirak.userns=container:first", "--network", "container:first")
    shared = {kind for kind, number in first.namespaces().items() if joined.namespaces()[kind] == number}
    assert shared == {"user", "net"}
    assert joined.sh("stat -c %u /bin/busybox; ls /sys/class/net").split() == ["0", "eth0", "lo"]
    own = box("--annotation", "dosirak.userns=container:first")
    assert {kind for kind, number in first.namespaces().items() if own.namespaces()[kind] == number} == {"user"}
    assert own.sh("ping -c 1 127.0.0.1 > /dev/null; echo $?") == "0"
    # Whoever is the host's root may join what belongs to another's.
    assert box("--network", "container:first").namespaces()["net"] == first.namespaces()["net"]


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("--privileged",), "privileged mode is incompatible with user namespaces"),
    (("--network", "host"), "cannot share the host's network namespace when user namespaces are enabled"),
    (("--pid", "host"), "cannot share the host PID namespace when user namespaces are enabled"),
    (("--network", "container:plain"), "cannot join network namespace of container"),
    (("--pid", "container:plain"), "cannot join pid namespace of container"),
]


def test_what_does_not_go_together_is_refused(box: Callable[..., Box], engine: Engine, busybox: str) -> None:
    box("--name", "plain")
    for flags, words in REFUSED:
        done = engine.docker("create", *AUTO, *flags, busybox, check=False)
        assert words in done.stderr, flags
    done = engine.docker("create", "--annotation", "dosirak.userns=container:plain", busybox, check=False)
    assert "has no user namespace of its own" in done.stderr
    done = engine.docker("create", "--annotation", "dosirak.userns=odd", busybox, check=False)
    assert "invalid USER mode: odd" in done.stderr


def test_keep_id_makes_a_namespace_in_which_every_id_is_the_callers(box: Callable[..., Box], tmp_path: Path) -> None:
    (tmp_path / "users").write_text("x")
    os.chown(tmp_path / "users", 1000, 1000)
    container = box("--annotation", "dosirak.userns=keep-id", "-v", f"{tmp_path}:/host")
    assert (container.proc / "uid_map").read_text().split() == ["0", "0", "4294967295"]
    assert container.namespaces()["user"] != namespaces("self")["user"]
    assert container.sh("stat -c %u /host/users /bin/busybox; echo > /host/new; echo > /new").split() == ["1000", "0"]
    assert (tmp_path / "new").stat().st_uid == 0
    assert "Operation not permitted" in container.sh("mknod /disk b 8 0", check=False)


def test_a_range_is_on_record_and_given_back_on_removal(fresh_engine: Engine) -> None:
    busybox = fresh_engine.import_busybox()

    def outside(name: str) -> str:
        details: Any = fresh_engine.client.api.inspect_container(name)
        return Path(f"/proc/{details['State']['Pid']}/uid_map").read_text().split()[1]

    def start(name: str) -> str:
        fresh_engine.docker("run", "-d", *AUTO, "--name", name, busybox, "sleep", "600")
        return outside(name)

    first = start("first")
    fresh_engine.kill()
    fresh_engine.start()
    assert outside("first") == first
    second = start("second")
    assert second != first
    fresh_engine.docker("rm", "-f", "first")
    assert start("third") == first
