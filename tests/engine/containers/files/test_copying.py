"""cp by the room's door: what is seen of containers in every state, and what may be written where."""

from __future__ import annotations

import asyncio
import gzip
import io
import lzma
import os
import stat
import struct

import pytest
import zstandard

from dosirak.engine.errors import EngineError, InvalidRequest, NotFound
from dosirak.engine.volumes import Volumes
from support.tars import files, member

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


async def test_a_container_in_any_state_gives_and_takes(copy):
    states = await copy.states("echo written > /f; mkdir -p /d/e; ln -s f /link")
    states["created"] = await copy.rig.create("true")
    for state, ref in states.items():
        assert copy.rig.containers.get(ref).state.status == state
        if state != "created":
            assert await copy.text(ref, "/f") == "written\n"
            found, entries = await copy.out(ref, "/d")
            assert stat.S_ISDIR(found.mode)
            assert set(entries) == {"d", "d/e"}
        await copy.write(ref, "/tmp/new", "content", copy_ids=False)
        assert await copy.text(ref, "/tmp/new") == "content"
    for state in ("created", "exited"):
        await copy.rig.containers.start(states[state])
        await copy.rig.containers.wait(states[state])
        assert await copy.text(states[state], "/tmp/new") == "content"
    assert await copy.sh(states["running"], "cat /tmp/new") == "content"


async def test_volumes_binds_and_tmpfs_are_seen_where_the_container_sees_them(copy, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/f").write_text("of the host")
    host = {"binds": [f"{tmp_path}:/mnt/deep", "named:/vol"], "tmpfs": {"/fast": ""}, "network_mode": "none"}
    ref = await copy.rig.start("sleep", "100", host=host)
    await copy.sh(ref, "echo v > /vol/f; echo t > /fast/f")
    assert await copy.text(ref, "/mnt/deep/below/f") == "of the host"
    assert await copy.text(ref, "/vol/f") == "v\n"
    assert await copy.text(ref, "/fast/f") == "t\n"
    await copy.write(ref, "/fast/in", "to memory")
    await copy.write(ref, "/mnt/deep/in", "to the host")
    assert await copy.sh(ref, "cat /fast/in") == "to memory"
    assert (tmp_path / "in").read_text() == "to the host"
    _, entries = await copy.out(ref, "/mnt")
    assert {"mnt/deep/below/f", "mnt/deep/in"} <= set(entries)
    await copy.rig.containers.kill(ref)
    assert await copy.text(ref, "/vol/f") == "v\n"
    assert await copy.text(ref, "/mnt/deep/in") == "to the host"
    with pytest.raises(NotFound):
        await copy.text(ref, "/fast/f")


async def test_a_container_that_never_ran_has_its_volumes_too(copy):
    ref = await copy.rig.create("cat", "/new/place/f", host={"binds": ["named:/new/place"], "network_mode": "none"})
    found, _ = await copy.out(ref, "/new/place")
    assert stat.S_ISDIR(found.mode)
    await copy.write(ref, "/new/place/f", "put before")
    waiter = copy.rig.containers.wait(ref, "next-exit")
    await copy.rig.containers.start(ref)
    assert (await waiter).code == 0
    assert await copy.rig.log(ref) == "put before"
    assert isinstance(copy.rig.volumes, Volumes)


async def test_its_own_network_files_are_seen_and_kernel_file_systems_are_not(copy):
    ref = await copy.rig.start("sleep", "100", hostname="box")
    assert await copy.text(ref, "/etc/hostname") == "box\n"
    for path in ("/proc/1/environ", "/sys/kernel", "/dev/null"):
        with pytest.raises(NotFound):
            await copy.files.stat(ref, path)
    await copy.write(ref, "/proc/x", "into the root below")
    assert await copy.sh(ref, "ls -d /proc/x || echo not there") == "not there\n"


@pytest.mark.parametrize("state", ["exited", "running"])
async def test_read_only_is_refused_with_docker_s_words(copy, tmp_path, state):
    host = {
        "readonly_rootfs": True,
        "binds": [f"{tmp_path}:/ro:ro", "writable:/vol", f"{tmp_path}:/vol/ro:ro"],
        "network_mode": "none",
    }
    ref = await copy.rig.start("sleep", "100", host=host)
    if state == "exited":
        await copy.rig.containers.kill(ref)
    for path, words in (
        ("/f", "container rootfs is marked read-only"),
        ("/ro/f", "mounted volume is marked read-only"),
        ("/vol/ro/f", "mounted volume is marked read-only"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            await copy.write(ref, path, "no")
    await copy.write(ref, "/vol/f", "yes")
    # Through a symlink of the archive's own, no check of the path has seen where it leads: the mounts stand.
    for target in ("/", "/ro"):
        with pytest.raises(EngineError, match="read-only file system"):
            await copy.put(ref, "/vol", member("l", "symlink", target), member("l/x", "file", "no"))
    assert os.listdir(tmp_path) == []
    assert await copy.text(ref, "/vol/f") == "yes"


async def test_what_is_not_there_has_docker_s_words(copy):
    ref = await copy.rig.create("true", name="box")
    for call in (copy.files.stat("box", "/no"), copy.out("box", "/no/such"), copy.put("box", "/no", member("x"))):
        with pytest.raises(NotFound, match=r"^Could not find the file /no(/such)? in container box$"):
            await call
    with pytest.raises(InvalidRequest, match=r"^extraction point is not a directory$"):
        await copy.put(ref, "/bin/busybox", member("x"))
    with pytest.raises(NotFound, match="No such container: nobody"):
        await copy.files.stat("nobody", "/")
    with pytest.raises(EngineError, match="not a directory"):
        await copy.files.stat(ref, "/bin/busybox/")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/d", {"d", "d/x"}),
        ("/d/", {"d", "d/x"}),
        ("d", {"d", "d/x"}),
        ("/d/.", {".", "./x"}),
        ("/l", {"l"}),
        ("/l/", {"l", "l/x"}),
        ("/l/.", {".", "./x"}),
        ("/d/x", {"x"}),
        ("/l/x", {"x"}),
        ("/../d/../d/x", {"x"}),
    ],
)
async def test_names_in_the_archive_begin_with_the_last_component(copy, path, names):
    ref = await copy.rig.create("true")
    await copy.put(ref, "/", member("d", "dir"), member("d/x"), member("l", "symlink", "d"))
    _, entries = await copy.out(ref, path)
    assert set(entries) == names


async def test_a_symlink_s_target_is_told_as_the_container_sees_it(copy):
    ref = await copy.rig.create("true")
    await copy.put(
        ref,
        "/",
        member("a", "symlink", "t/b"),
        member("t", "symlink", "/real"),
        member("real", "dir"),
        member("real/b", "symlink", "../../../end"),
        member("end", "file", "x"),
        member("round", "symlink", "round"),
        member("away", "symlink", "/real/no/where"),
    )
    for path, target in (("/a", "/end"), ("/away", "/real/no/where"), ("/end", ""), ("/t", "/real")):
        assert (await copy.files.stat(ref, path)).link_target == target
    assert (await copy.files.stat(ref, "/a")).name == "a"
    with pytest.raises(EngineError, match="too many levels of symbolic links"):
        await copy.files.stat(ref, "/round")


async def test_everything_a_file_has_comes_through(copy):
    ref = await copy.rig.start("sleep", "100")
    headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"), "SCHILY.xattr.user.note": "mine"}
    await copy.put(
        ref,
        "/",
        member("d", "dir", mode=0o1711, uid=5, gid=6),
        member("d/f", "file", "x" * 100_000, mode=0o4755, uid=2_500_000, gid=7, mtime=1_600_000_000),
        member("d/cap", "file", "x", pax_headers=headers),
        member("d/hard", "link", "d/f"),
        member("d/soft", "symlink", "/nowhere"),
        member("d/pipe", "fifo", mode=0o620),
        member("d/null", "char", devmajor=1, devminor=3),
        member("d/" + "n" * 250, "file", "long"),
    )
    said = await copy.sh(ref, "stat -c '%a %u:%g %Y %h' /d/f; stat -c '%a %u:%g' /d; stat -c '%t:%T' /d/null")
    assert said.split("\n")[:3] == ["4755 2500000:7 1600000000 2", "1711 5:6", "1:3"]
    _, found = await copy.out(ref, "/d")
    file = found["d/f"] if found["d/f"].isreg() else found["d/hard"]
    assert (file.mode, file.uid, file.gid, file.mtime, len(file.content)) == (
        0o4755,
        2_500_000,
        7,
        1_600_000_000,
        100_000,
    )
    assert sum(entry.islnk() for entry in found.values()) == 1
    assert (found["d/soft"].linkname, found["d/pipe"].isfifo(), found["d/null"].devminor) == ("/nowhere", True, 3)
    assert found["d/cap"].pax_headers["SCHILY.xattr.security.capability"].encode("latin-1", "replace")
    assert found["d/cap"].pax_headers["SCHILY.xattr.user.note"] == "mine"
    assert found["d/" + "n" * 250].content == b"long"


async def test_a_sparse_file_reads_as_long_as_it_is(copy):
    ref = await copy.ended("truncate -s 3000000 /holes; printf end >> /holes")
    found, entries = await copy.out(ref, "/holes")
    assert found.size == len(entries["holes"].content) == 3_000_003
    assert entries["holes"].content.strip(b"\0") == b"end"


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress], ids=["gzip", "xz", "zstd"])
async def test_compressed_archives_are_unpacked_here_not_by_the_image_s_programs(copy, compress):
    """CVE-2026-41567: an image's own xz ran as the host's root."""
    ref = await copy.rig.start("sleep", "100")
    for name in ("xz", "unpigz", "gzip", "zstd"):
        await copy.write(ref, f"/bin/{name}", "#!/bin/sh\ntouch /ran\n")
    await copy.sh(ref, "chmod +x /bin/xz /bin/unpigz /bin/gzip /bin/zstd")
    await copy.files.extract(ref, "/", io.BytesIO(compress(files(f="inside"))))
    assert await copy.sh(ref, "cat /f; ls /ran 2>/dev/null || echo nothing ran") == "insidenothing ran\n"


async def test_a_bad_archive_is_refused_and_keeps_nothing_busy(copy):
    ref = await copy.rig.create("true")
    for data in (b"no tar at all" * 100, files(f="x" * 5000)[:1500], gzip.compress(files(f="x"))[:40]):
        with pytest.raises(InvalidRequest):
            await copy.files.extract(ref, "/", io.BytesIO(data))
    await copy.rig.containers.start(ref)
    await copy.rig.containers.wait(ref)


async def test_directories_and_files_change_places_only_when_they_may(copy):
    ref = await copy.rig.create("true")
    await copy.put(ref, "/", member("d", "dir"), member("d/x"), member("f"))
    for entry, words in ((member("d"), 'cannot overwrite directory "/d" with'), (member("f", "dir"), "non-directory")):
        with pytest.raises(EngineError, match=words):
            await copy.put(ref, "/", entry, keep_kinds=True)
        await copy.put(ref, "/", entry)
    found = {name: (await copy.files.stat(ref, name)).mode for name in ("/d", "/f")}
    assert stat.S_ISREG(found["/d"])
    assert stat.S_ISDIR(found["/f"])


async def test_copied_ids_are_the_user_s_as_the_container_names_it(copy):
    for user, ids in (
        ("user", (1000, 1000)),
        ("1000", (1000, 1000)),
        ("33", (33, 0)),
        ("user:7", (1000, 7)),
        ("", (1, 2)),
    ):
        ref = await copy.rig.create("true", user=user)
        await copy.put(ref, "/", member("f", uid=1, gid=2), copy_ids=True)
        _, entries = await copy.out(ref, "/f")
        assert (entries["f"].uid, entries["f"].gid) == ids
    ref = await copy.rig.create("true", user="stranger")
    with pytest.raises(InvalidRequest, match="stranger"):
        await copy.put(ref, "/", member("f"), copy_ids=True)


async def test_a_stopped_container_does_not_start_while_it_is_written_to(copy):
    ref = await copy.rig.create("cat", "/f")
    read, write = os.pipe()
    data = files(f="whole")
    writing = asyncio.create_task(copy.files.extract(ref, "/", os.fdopen(read, "rb")))
    os.write(write, data[:700])
    await asyncio.sleep(0.1)
    waiter = copy.rig.containers.wait(ref, "next-exit")
    starting = asyncio.create_task(copy.rig.containers.start(ref))
    await asyncio.sleep(0.1)
    assert not starting.done()
    os.write(write, data[700:])
    os.close(write)
    await writing
    await starting
    assert (await waiter).code == 0
    assert await copy.rig.log(ref) == "whole"


async def test_a_slow_reader_keeps_no_container_from_starting(copy):
    ref = await copy.rig.create("true")
    await copy.write(ref, "/f", "x")
    loop, release = asyncio.get_running_loop(), asyncio.Event()
    entered = asyncio.Event()

    def deliver(stat, pieces):
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        for _ in pieces:
            pass

    reading = asyncio.create_task(copy.files.archive(ref, "/", deliver))
    await entered.wait()
    await copy.rig.containers.start(ref)
    await copy.rig.containers.wait(ref)
    release.set()
    await reading


async def test_a_container_that_ends_and_starts_all_the_time_is_read_all_the_time(copy):
    ref = await copy.ended("[ -e /f ] || echo steady > /f")
    for _ in range(15):
        starting = asyncio.create_task(copy.rig.containers.restart(ref))
        texts = await asyncio.gather(*(copy.text(ref, "/f") for _ in range(4)))
        assert set(texts) == {"steady\n"}
        await starting


async def test_export_is_the_root_without_mounts(copy):
    states = await copy.states(
        "echo mine > /f; echo hidden > /vol/x", host={"binds": ["hidden:/vol"], "network_mode": "none"}
    )
    for ref in states.values():
        entries = await copy.export(ref)
        assert entries["f"].content == b"mine\n"
        assert entries["vol"].isdir()
        assert "vol/x" not in entries
        assert not entries.keys() & {".", "./"}
        assert entries["bin/busybox"].size > 0
