"""A process on its way into a container is watched from inside: nothing of the host can be had from it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dosirak.engine.runtime import defaults
from support.bundles import Box

Python = Callable[[str], list[str]]

# Looks at every other process again and again; tells what it could open.
SNIFFER = textwrap.dedent("""
    import json, os, sys
    seen, exes, own = set(), {}, os.getpid()
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    while not os.path.exists("/stop"):
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or int(pid) == own:
                continue
            for what in ("exe", "cwd", "root"):
                try:
                    name = os.readlink(f"/proc/{pid}/{what}")
                    seen.add(f"{what} {name}")
                    if what == "exe" and name not in exes:
                        exes[name] = os.open(f"/proc/{pid}/exe", os.O_PATH)
                except OSError:
                    pass
            try:
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    name = os.readlink(f"/proc/{pid}/fd/{fd}")
                    seen.add(f"fd{fd} {name.partition(':')[0]}")
                    if int(fd) > 2:
                        os.close(os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY))
                        seen.add(f"OPENED {name}")
            except OSError:
                pass
    opened = []
    for name, fd in exes.items():
        for flags in (os.O_WRONLY, os.O_RDWR):
            try:
                os.open(f"/proc/self/fd/{fd}", flags)
                opened.append(name)
            except OSError:
                pass
    print(json.dumps([sorted(seen), opened]))
""")


async def test_a_sniffer_sees_nothing_of_incoming_processes(
    box: Box, python: Python, python_mounts: list[dict[str, Any]]
) -> None:
    """CVE-2019-5736 and CVE-2016-9962: the exe and the descriptors of an exec that has not yet become its program."""
    started = await box.start(python(SNIFFER), mounts=python_mounts)
    await started.wire.until(b"ready\n")
    for _ in range(8):
        await asyncio.gather(*(box.exec(started, ["sh", "-c", "sleep 0.02"]) for _ in range(4)))
    await box.exec(started, "touch /stop")
    result = await started.finish()
    seen, opened = json.loads(result.out.split("\n")[1])
    exes = {line for line in seen if line.startswith("exe ")}
    assert exes == {"exe /bin/busybox"}, "the control: it does see those that have arrived"
    assert {line for line in seen if line.startswith(("cwd ", "root "))} <= {"cwd /", "root /"}
    descriptors = {line.split()[0] for line in seen if line.startswith("fd")}
    assert descriptors <= {"fd0", "fd1", "fd2", "fd3"}, seen  # 3: a shell's own
    assert not [line for line in seen if line.startswith("OPENED")], seen
    assert set(opened) <= {"/bin/busybox"}, "its own file, which it may write"


async def test_not_even_a_tracer_gets_the_hosts_interpreter_for_writing(
    box: Box, python: Python, python_mounts: list[dict[str, Any]]
) -> None:
    """With CAP_SYS_PTRACE the container may look at anybody; the interpreter lies on a read-only mount of its own."""
    granted = [*defaults.DEFAULT_CAPABILITIES, "CAP_SYS_PTRACE"]
    capabilities = dict.fromkeys(("bounding", "effective", "permitted"), granted)
    started = await box.start(python(SNIFFER), mounts=python_mounts, capabilities=capabilities)
    await started.wire.until(b"ready\n")
    for _ in range(8):
        await asyncio.gather(*(box.exec(started, ["true"]) for _ in range(4)))
    await box.exec(started, "touch /stop")
    _, opened = json.loads((await started.finish()).out.split("\n")[1])
    assert set(opened) <= {"/bin/busybox"}


async def test_a_program_that_is_the_launchers_own_can_not_be_overwritten(
    box: Box, python_mounts: list[dict[str, Any]]
) -> None:
    """CVE-2019-5736's first step: the image's entry point is /proc/self/exe."""
    interpreter = Path(os.path.realpath(sys.executable))
    before = interpreter.stat()
    script = textwrap.dedent("""
        import errno, os
        print(os.readlink("/proc/self/exe"))
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
            try:
                os.open("/proc/self/exe", flags)
                print("OPENED")
            except OSError as error:
                print(errno.errorcode[error.errno])
    """)
    result = await box.run(["/proc/self/exe", "-I", "-S", "-c", script], mounts=python_mounts)
    lines = result.out.split()
    assert set(lines[1:]) <= {"EROFS", "ETXTBSY"}, (result.out, result.err)
    assert lines[3] == "EROFS", "truncating asks the mount first; the others find it busy as long as it runs"
    after = interpreter.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)
    link = box.layer(entry="#!/proc/self/exe\nprint('ran')\n")
    (link / "entry").chmod(0o755)
    await box.run(["/entry"], lower=[link], mounts=python_mounts)  # whatever it does, it does inside
    assert interpreter.stat().st_mtime_ns == before.st_mtime_ns


async def test_an_images_libraries_are_not_loaded_before_its_program(box: Box) -> None:
    """CVE-2019-14271: were the host's interpreter to import or resolve a name inside, it would run the image's code."""
    poison = 'open("/poisoned", "w").write("x")\n'
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    places = [f"{sys.base_prefix}/lib/python{version}", f"/usr/lib/python{version}", "/"]
    names = ("pwd", "grp", "encodings__idna", "encodings__ascii", "locale", "stat", "struct", "socket", "traceback")
    files = {f"{place.strip('/').replace('/', '__')}__{name}__py": poison for place in places for name in names}
    layer = box.layer(**{name.removesuffix("__py") + ".py": text for name, text in files.items()})
    for library in ("libnss_files.so.2", "libc.so.6", "libnss_compat.so.2"):
        for folder in ("lib", "lib64", "usr/lib", "lib/x86_64-linux-gnu"):
            (layer / folder).mkdir(parents=True, exist_ok=True)
            (layer / folder / library).write_bytes(b"\x7fELF garbage")
    (layer / "etc").mkdir(exist_ok=True)
    (layer / "etc/ld.so.preload").write_text("/lib/libc.so.6\n")
    (layer / "etc/nsswitch.conf").write_text("passwd: files compat\n")
    started = await box.start(["sh", "-c", "id; exec sleep 60"], lower=[layer], user="user:audio")
    await started.wire.until(b"uid=1000(user)")
    assert (await box.exec(started, "ls /poisoned", user={"username": "user"})).code != 0
    assert not (started.bundle.path / "upper/poisoned").exists()


async def test_an_exec_lives_where_its_container_lives(box: Box) -> None:
    started = await box.start(["sleep", "60"])
    kinds = ["mnt", "uts", "ipc", "pid", "net", "cgroup", "user", "time"]
    script = "for n in $KINDS; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; pwd"
    inside = await box.exec(started, script, env=["PATH=/bin", f"KINDS={' '.join(kinds)}"])
    names = [os.readlink(f"/proc/{started.task.pid}/ns/{kind}") for kind in kinds]
    assert inside.out.splitlines()[: len(names)] == names
    assert "/dosirak/" not in inside.out
    task, wire = await box.exec_start(started, ["sleep", "60"])
    groups = [Path(f"/proc/{pid}/cgroup").read_text().splitlines() for pid in (task.pid, started.task.pid)]
    assert [line for line in groups[0] if "dosirak" in line] == [line for line in groups[1] if "dosirak" in line] != []
    started.kill()
    assert await wire.all() == b""
    assert (await task.wait()).code == 137, "it goes with its container"
