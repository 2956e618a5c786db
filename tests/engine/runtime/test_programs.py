"""Where a process stands and what it runs; how it ends; and why one does not start."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from dosirak.engine.errors import HostLimit, StartFailed
from dosirak.engine.supervision.model import Launch
from support.bundles import Box, cgroup_folders, ended

# Working directory


async def test_a_working_directory_is_made_if_missing(box: Box) -> None:
    result = await box.run("pwd; stat -c '%u %a' .", cwd="/a/b", user="user")
    assert result.out == "/a/b\n0 755\n"


async def test_a_users_working_directory_may_be_closed_to_him(box: Box) -> None:
    """The image's choice is root's choice: runc changes there before it becomes the user."""
    layer = box.layer(closed__x="")
    (layer / "closed").chmod(0o700)
    result = await box.run("pwd; ls", cwd="/closed", user="user", lower=[layer], capabilities={})
    assert result.out == "/closed\n"
    assert "denied" in result.err


async def test_a_working_directory_that_only_the_user_may_enter(box: Box, tmp_path: Path) -> None:
    layer = box.layer(mine__x="")
    os.chown(layer / "mine", 1000, 1000)
    (layer / "mine").chmod(0o700)
    result = await box.run("pwd", cwd="/mine", user="user", lower=[layer], capabilities={})
    assert result.out == "/mine\n"


@pytest.mark.parametrize("kind", ["run", "exec", "run by a link", "exec by a link"])
async def test_a_descriptor_of_the_host_is_no_working_directory(box: Box, kind: str) -> None:
    """CVE-2024-21626."""
    layer = box.layer(**{f"link{number}": f"->/proc/self/fd/{number}" for number in range(3, 24)})
    place = "/link{}" if "link" in kind else "/proc/self/fd/{}"
    started = await box.start(["sleep", "60"], lower=[layer])
    for number in range(3, 24):
        cwd = place.format(number)
        with pytest.raises(StartFailed, match=r"cwd|symbolic|denied|such file|not permitted|not a dir"):
            if "exec" in kind:
                await box.exec(started, "pwd; ls", cwd=cwd)
            else:
                await box.run("pwd; ls", cwd=cwd, lower=[layer])


@pytest.mark.parametrize("kind", ["run", "exec"])
async def test_a_descriptor_of_the_host_leads_to_no_program(box: Box, kind: str) -> None:
    """CVE-2024-21626, third attack: the program's own path climbs out through a directory that is still open."""
    up = "/.." * 12
    started = await box.start(["sleep", "60"])
    for number in range(3, 24):
        for program in (
            f"/proc/self/fd/{number}{up}{os.path.realpath('/bin/busybox')}",
            f"/proc/self/fd/{number}/config.json",
        ):
            args = [program, "sh", "-c", "echo escaped"]
            with pytest.raises(StartFailed, match=r"no such file|permission denied|not a dir"):
                await (box.exec(started, args) if kind == "exec" else box.run(args))


async def test_a_working_directory_that_is_none_is_an_error(box: Box) -> None:
    with pytest.raises(StartFailed, match=r'chdir to cwd \("/etc/passwd"\) set in config.json failed: not a directory'):
        await box.run("true", cwd="/etc/passwd")
    started = await box.start(["sleep", "60"])
    message = (
        'OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nope") set in '
        "config.json failed: no such file or directory: unknown"
    )
    with pytest.raises(StartFailed) as caught:
        await box.exec(started, "true", cwd="/nope")
    assert str(caught.value) == message
    assert caught.value.exit_code == 127


# Programs


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["/bin/nosuch"], 127, 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory'),
        (["./nosuch"], 127, 'exec: "./nosuch": stat ./nosuch: no such file or directory'),
        (["/etc"], 126, 'exec: "/etc": is a directory'),
        (["/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied'),
        (["/etc/passwd/x"], 127, 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'),
        ([""], 127, 'exec: "": executable file not found in $PATH'),
        (["/noshebang"], 126, "exec /noshebang: exec format error"),
        (["/badshebang"], 127, "exec /badshebang: no such file or directory"),
    ],
)
async def test_a_program_that_can_not_run(box: Box, args: list[str], code: int, words: str) -> None:
    layer = box.layer(noshebang="\x7fELFnot", badshebang="#!/no/interpreter\n")
    for name in ("noshebang", "badshebang"):
        (layer / name).chmod(0o755)
    bundle = box.bundle(args, lower=[layer])
    with pytest.raises(StartFailed) as caught:
        await box.run(bundle)
    assert caught.value.exit_code == code
    assert str(caught.value) == (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: dosirak create "
        f"failed: unable to start container process: error during container init: {words}: unknown"
    )
    started = await box.start(["sleep", "60"], lower=[layer])
    with pytest.raises(StartFailed) as caught:
        await box.exec(started, args)
    assert caught.value.exit_code == code
    assert str(caught.value) == (
        f"OCI runtime exec failed: exec failed: unable to start container process: {words}: unknown"
    )


async def test_a_users_program_must_be_his_to_run(box: Box) -> None:
    layer = box.layer(bin__mine="#!/bin/sh\necho ran\n")
    (layer / "bin/mine").chmod(0o700)
    assert (await box.run(["mine"], lower=[layer])).out == "ran\n"
    with pytest.raises(StartFailed, match=r'exec: "mine": permission denied') as caught:
        await box.run(["mine"], lower=[layer], user="user")
    assert caught.value.exit_code == 126


async def test_the_path_is_searched_in_order(box: Box) -> None:
    layer = box.layer(a__prog="#!/bin/sh\necho a\n", b__prog="#!/bin/sh\necho b\n", c__prog="#!/bin/sh\necho c\n")
    (layer / "b/prog").chmod(0o755)
    (layer / "c/prog").chmod(0o755)
    assert (await box.run(["prog"], lower=[layer], env=["PATH=/none:/a:/b:/c"])).out == "b\n"
    assert (await box.run(["prog"], lower=[layer], env=["PATH=/c:/b"])).out == "c\n"
    assert (await box.run(["true"], env=[])).code == 0, "the usual path"


async def test_a_program_gets_its_arguments_as_they_stand(box: Box) -> None:
    args = ["sh", "-c", 'for a in "$@"; do echo "[$a]"; done', "name", "", "two words", "$HOME", "도시락", "-"]
    assert (await box.run(args)).out == "[]\n[two words]\n[$HOME]\n[도시락]\n[-]\n"


@pytest.mark.parametrize("user", ["nobody", "user:nogroup", "4294967296"])
async def test_an_unknown_user(box: Box, user: str) -> None:
    bundle = box.bundle(user=user)
    with pytest.raises(StartFailed, match=r"unable to find (user|group) |uids and gids must be in range") as caught:
        await box.run(bundle)
    assert caught.value.exit_code == 126
    assert cgroup_folders(bundle.cgroup) == []
    started = await box.start(["sleep", "60"])
    with pytest.raises(StartFailed, match=r"unable to find (user|group) |uids and gids must be in range") as caught:
        await box.exec(started, "true", user={"username": user})
    assert caught.value.exit_code == 126


@pytest.mark.parametrize("code", [0, 1, 3, 125, 126, 127, 255])
async def test_exit_codes(box: Box, code: int) -> None:
    result = await box.run(f"exit {code}")
    assert (result.code, result.exit.oom, result.exit.error) == (code, False, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGSEGV])
async def test_signals_end_it_with_128_and_their_number(box: Box, number: signal.Signals) -> None:
    """Ordinary signals do not kill a process 1 that has no handler; they do kill an exec'd process."""
    started = await box.start(["sleep", "60"])
    task, _ = await box.exec_start(started, ["sleep", "60"])
    task.kill(number)
    assert (await ended(task)).code == 128 + number
    started.kill(number)
    if number != signal.SIGKILL:
        started.kill(signal.SIGKILL)
    assert (await started.finish()).code == 137


async def test_a_handler_of_process_1_gets_the_signal(box: Box) -> None:
    started = await box.start("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    await started.wire.until(b"ready")
    started.kill(signal.SIGTERM)
    assert (await started.finish()).code == 5
    with pytest.raises(ProcessLookupError):
        started.kill()


async def test_without_a_pid_namespace_a_signal_kills(box: Box) -> None:
    started = await box.start(["sleep", "60"], namespaces=["mount", "ipc", "uts"])
    started.kill(signal.SIGTERM)
    assert (await started.finish()).code == 143


# Faults


async def test_a_bundle_without_a_document(box: Box) -> None:
    bundle = box.bundle()
    (bundle.path / "config.json").unlink()
    with pytest.raises(StartFailed, match=r"no such file or directory.*config.json") as caught:
        await box.launch(bundle)
    assert caught.value.exit_code == 127


async def test_a_bundle_that_is_gone(box: Box) -> None:
    bundle = box.bundle()
    os.rename(bundle.path, bundle.path.with_name("elsewhere"))
    with pytest.raises(StartFailed, match="no such file or directory"):
        await box.launch(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"process": {}}', '{"linux": {"namespaces": [{"type": "x"}]}}'])
async def test_a_document_that_is_none(box: Box, text: str) -> None:
    bundle = box.bundle()
    (bundle.path / "config.json").write_text(text)
    with pytest.raises(StartFailed):
        await box.launch(bundle)
    assert (await box.run("true")).code == 0


async def test_a_log_that_can_not_be_written(box: Box) -> None:
    bundle = box.bundle()
    bundle.log_path = bundle.path / "no/such/folder/log"
    with pytest.raises(StartFailed, match="no such file or directory"):
        await box.launch(bundle)


@pytest.mark.parametrize("missing", ["rootfs", "upper", "work"])
async def test_a_part_of_the_bundle_is_missing(box: Box, missing: str) -> None:
    bundle = box.bundle()
    (bundle.path / missing).rmdir()
    with pytest.raises(StartFailed, match=r"no such file or directory"):
        await box.launch(bundle)
    assert cgroup_folders(bundle.cgroup) == []


async def test_a_missing_layer(box: Box) -> None:
    with pytest.raises(StartFailed, match=r"no such file or directory.*nowhere"):
        await box.run("true", lower=[box.root / "nowhere"])


async def test_the_bundle_may_be_removed_while_the_container_runs(box: Box) -> None:
    started = await box.start("read x; exit 4", stdin=True)
    for path in started.bundle.path.iterdir():
        if path.is_file() or path.is_socket():
            path.unlink()
    await started.wire.send(b"\n")
    assert (await started.finish()).code == 4


async def test_too_many_clients_for_one_message(box: Box) -> None:
    wires = [box.wire() for _ in range(260)]
    with pytest.raises((HostLimit, StartFailed)):
        await box.launch(box.bundle(), attach=tuple(wire.attach() for wire in wires))


async def test_an_exec_in_a_container_that_ended(box: Box) -> None:
    started = await box.start("true")
    pidfd = os.dup(started.task.pidfd)
    await started.finish()
    started.task.pidfd = pidfd
    with pytest.raises(StartFailed):
        await box.exec(started, "true")
    started.task.pidfd = -1
    os.close(pidfd)


async def test_the_launchers_sockets_do_not_reach_the_container(box: Box) -> None:
    """What a container's process holds is its three streams; stdin is a pipe, not the client's socket."""
    started = await box.start("stat -L -c %F /proc/self/fd/0", stdin=True)
    assert (await started.finish()).out == "fifo\n"
    assert stat.S_ISSOCK(os.fstat(started.wire.ours.fileno()).st_mode)
    assert isinstance(started.wire.ours, socket.socket)


async def test_exit_json_tells_the_end(box: Box) -> None:
    result = await box.start("exit 6")
    await result.finish()
    said = json.loads((result.bundle.path / "exit.json").read_text())
    assert (said["code"], said["oom"], said["error"], said["restarts"]) == (6, False, "", 0)
    assert said["at"] == result.task.exit.at


async def test_an_exec_that_comes_as_its_container_ends_is_told_so(box: Box) -> None:
    """Its first process has been looked up, and its cgroup is gone by now: it is no program that is missing."""
    started = await box.start(["true"])
    pidfd = os.dup(started.task.pidfd)
    await ended(started.task)
    await started.task.gone()
    try:
        launch = Launch(id="exec", bundle=started.bundle.path)
        with pytest.raises(StartFailed, match=r"exec failed.*the container has ended") as caught:
            await box.launcher.exec(launch, pidfd, started.bundle.spec["process"], started.bundle.spec)
        assert caught.value.exit_code == 128
    finally:
        os.close(pidfd)
