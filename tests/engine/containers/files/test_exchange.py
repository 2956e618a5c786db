"""A container that exchanges directories for symlinks while its files are copied: nothing outside is read or written.

CVE-2018-15664, CVE-2026-41568, CVE-2026-42306 and their kin. The exchanger is a process of its own, on the shared
directory from both sides as fast as it can; the control shows that the naive way through the same paths is led outside.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tarfile
import time
from pathlib import Path

import pytest

from dosirak.engine.errors import EngineError
from dosirak.engine.layers.pack import unfolded
from dosirak.engine.runtime.syscalls import AT_FDCWD, renameat2
from support.tars import member, tar

_ROUNDS = 120
_EXCHANGE = 2
_SECRET = b"secret of the host"


@pytest.fixture
def host(tmp_path):
    """A directory of the host with a marker, which must stay as it is."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "marker").write_bytes(_SECRET)
    (outside / "sub/marker").write_bytes(_SECRET)
    yield outside
    found = {str(path.relative_to(outside)) for path in outside.rglob("*")}
    assert found == {"marker", "sub", "sub/marker"}
    assert (outside / "marker").read_bytes() == (outside / "sub/marker").read_bytes() == _SECRET
    assert (outside / "marker").stat().st_nlink == 1


@contextlib.contextmanager
def exchanging(shared, host):
    """`d`, a directory, and `s`, a symlink to the host's, change places all the time."""
    (shared / "d/sub").mkdir(parents=True)
    (shared / "d/marker").write_text("inside")
    (shared / "d/sub/marker").write_text("inside")
    # Absolute, and by more ".." than there are directories: both would lead there from anywhere but a closed root.
    (shared / "s").symlink_to(("../" * 40) + str(host).lstrip("/"))
    child = os.fork()
    if child == 0:
        while True:
            with contextlib.suppress(OSError):
                renameat2(AT_FDCWD, str(shared / "d"), AT_FDCWD, str(shared / "s"), _EXCHANGE)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def contents(data):
    """What the files of a tar have in them."""
    found = set()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            if info.isreg() and (file := archive.extractfile(info)) is not None:
                found.add(file.read())
    return found


async def test_reading_leads_nowhere_outside(copy, host, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    options = {"binds": [f"{shared}:/x"], "network_mode": "none"}
    running = await copy.rig.start("sleep", "1000", host=options)
    exited = await copy.rig.create("true", host=options)
    naive, read = 0, {"inside": 0, "missing": 0}
    with exchanging(shared, host):
        deadline = time.monotonic() + 30
        rounds = 0
        while rounds < _ROUNDS or (min(read["inside"], naive) == 0 and time.monotonic() < deadline):
            rounds += 1
            ref = running if rounds % 2 else exited
            path = ("/x/d/marker", "/x/d/sub", "/x/d/.", "/x", "/x/d/sub/marker")[rounds % 5]
            with contextlib.suppress(OSError):
                naive += (shared / "d/marker").read_bytes() == _SECRET
            try:
                found = []
                await copy.files.archive(ref, path, lambda stat, pieces: found.append(b"".join(unfolded(pieces))))  # noqa: B023
            except EngineError:
                read["missing"] += 1
                continue
            assert _SECRET not in contents(found[0])
            read["inside"] += b"inside" in contents(found[0])
    assert naive > 0, "the control was never led outside: the race was not run"
    assert read["inside"] > 0


async def test_writing_leads_nowhere_outside(copy, host, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    options = {"binds": [f"{shared}:/x"], "network_mode": "none"}
    running = await copy.rig.start("sleep", "1000", host=options)
    exited = await copy.rig.create("true", host=options)
    data = tar(
        [member("sub", "dir", mode=0o777), member("sub/new"), member("marker", "file", "written"), member("n", "fifo")]
    )
    led, done = 0, {"through": 0, "refused": 0}
    with exchanging(shared, host):
        deadline = time.monotonic() + 30
        rounds = 0
        while rounds < _ROUNDS or (min(done["through"], led) == 0 and time.monotonic() < deadline):
            rounds += 1
            with contextlib.suppress(OSError):
                led += (shared / "d/marker").read_bytes() == _SECRET
            try:
                await copy.files.extract(running if rounds % 2 else exited, "/x/d", io.BytesIO(data))
                done["through"] += 1
            except EngineError:
                done["refused"] += 1
    assert led > 0, "the control was never led outside: the race was not run"
    assert done["through"] > 0


async def test_mounting_for_the_view_leads_nowhere_outside(copy, host, tmp_path):
    """A volume's place below a directory that is exchanged: GHSA-vp62-88p7-qqf5, GHSA-rg2x-37c3-w2rh."""
    shared, volume = tmp_path / "shared", tmp_path / "volume"
    shared.mkdir()
    volume.mkdir()
    (volume / "v").write_text("of the volume")
    options = {"binds": [f"{shared}:/x", f"{volume}:/x/d/sub", f"{volume}:/x/d/made/for/it"], "network_mode": "none"}
    ref = await copy.rig.create("true", host=options)
    seen = 0
    with exchanging(shared, host):
        for _ in range(_ROUNDS):
            with contextlib.suppress(EngineError):
                await copy.files.stat(ref, "/x/d/sub/v")
                seen += 1
            assert not os.path.ismount(host / "sub")
            assert "outside" not in Path("/proc/self/mountinfo").read_text()
    assert seen > 0


async def test_names_that_lead_out_lead_in(copy, host):
    ref = await copy.rig.start("sleep", "100")
    up = "../" * 40
    await copy.put(
        ref,
        "/",
        member("abs", "symlink", str(host)),
        member("rel", "symlink", up + str(host).lstrip("/")),
        member("proc", "symlink", f"/proc/{os.getpid()}/root{host}"),
    )
    for path in ("/abs/marker", "/rel/marker", "/proc/marker", f"{up}{host}/marker", f"/abs/{up}{host}/marker"):
        with pytest.raises(EngineError):
            await copy.files.stat(ref, path)
    for name in ("abs/x", "rel/x"):
        with contextlib.suppress(EngineError):
            await copy.put(ref, "/", member(name, "file", "no"))
    with pytest.raises(EngineError):
        await copy.put(ref, "/", member("../x", "file", "no"))
    with pytest.raises(EngineError):
        await copy.put(ref, "/tmp", member("hard", "link", f"{up}{host}/marker"))


async def test_diff_commit_and_export_follow_nothing(copy, host):
    ref = await copy.ended(f"ln -s {host} /abs; ln -s {host}/marker /tmp/f")
    await copy.files.changes(ref)
    entries = await copy.export(ref)
    assert (entries["abs"].issym(), entries["tmp/f"].linkname) == (True, f"{host}/marker")
    assert _SECRET not in {entry.content for entry in entries.values()}
