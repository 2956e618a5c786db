"""`dosirak/host`: made of this machine, works by itself, made anew only when the machine has changed."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.errors import NotFound
from dosirak.engine.images import ImageConfig, Usage
from dosirak.engine.images.host import contents, elf
from dosirak.engine.images.host.tree import Copy, Directory, Link, Text, Tree
from dosirak.engine.images.host.writing import write

from .conftest import Room


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory where the image was made once."""
    path = tmp_path_factory.mktemp("host") / "data"
    asyncio.run(_make(Room(path)))
    yield path


async def _make(room: Room) -> None:
    await room.images.resolve("dosirak/host")
    await room.layers.close()


@pytest.fixture
async def lower(place: Path) -> Path:
    room = Room(place)
    [path] = await room.images.lower_dirs(await room.images.resolve("dosirak/host"))
    return Path(path)


def inside(lower: Path, *command: str) -> str:
    """Runs a command in the image, by chroot: enough for programs of our own choice."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run(["chroot", lower, *command], capture_output=True, text=True, env=env)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


async def test_the_image_says_what_it_is(place: Path) -> None:
    room = Room(place)
    image = await room.images.resolve("dosirak/host:latest")
    assert image.names == ("docker.io/dosirak/host:latest",)
    assert image.config.config.cmd == ["bash"]
    assert image.config.config.env == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
    ]
    assert image.config.os == "linux"
    assert image.layers[0].digest == image.diff_ids[0]
    [step] = room.images.history(image)
    assert step.created_by.startswith("dosirak host: ")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("sh", "-c", "echo $((6 * 7)) | sed s/4/5/ | grep -o 52"), "52\n"),
        (("bash", "-c", "ls -d /tmp /root /etc/passwd | wc -l"), "3\n"),
        (("/usr/bin/env", "sh", "-c", "id -un; whoami"), "root\nroot\n"),
        (("python3", "-c", "import json, ssl, sqlite3, ctypes, asyncio, zlib; print(json.dumps('é'))"), '"\\u00e9"\n'),
        (("python3", "-c", "import sys, encodings; print(sys.getfilesystemencoding())"), "utf-8\n"),
        (("awk", "BEGIN { print 1 + 1 }"), "2\n"),
        (("stat", "-c", "%a %U", "/tmp", "/root"), "1777 root\n700 root\n"),
        (("sh", "-c", ". /etc/os-release; echo $ID"), "dosirak-host\n"),
    ],
)
async def test_what_a_first_cell_needs_works(lower: Path, command: tuple[str, ...], expected: str) -> None:
    assert inside(lower, *command) == expected


async def test_every_program_finds_its_libraries_inside(lower: Path) -> None:
    checked = 0
    for here, _, names in os.walk(lower):
        for name in names:
            path = Path(here, name)
            found = None if path.is_symlink() else elf.read(path)
            if found is not None and found.interpreter:
                said = inside(lower, found.interpreter, "--list", "/" + str(path.relative_to(lower)))
                assert "not found" not in said, path
                checked += 1
    assert checked > 80


async def test_nothing_in_it_is_setuid_or_leads_out(lower: Path) -> None:
    for here, directories, names in os.walk(lower):
        for name in directories + names:
            path = Path(here, name)
            assert not path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID), path
            if path.is_symlink():
                inner = os.path.normpath(os.path.join("/", os.path.relpath(here, lower), os.readlink(path)))
                assert os.path.lexists(f"{lower}{inner}") or not os.path.lexists(inner), path


async def test_python_starts_from_its_caches(lower: Path) -> None:
    # A cache is good for a source of the very second: the copies must have kept their times.
    asked = ["chroot", lower, "/usr/bin/python3", "-v", "-c", "import json"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stderr
    assert re.search(r"json/__pycache__/__init__\.\S+\.pyc matches \S+/json/__init__\.py", said)


async def test_a_second_service_finds_it_fresh(place: Path) -> None:
    room = Room(place)
    before = room.files()
    image = await room.images.resolve("dosirak/host")
    assert room.files() == before
    assert await room.again().images.resolve("dosirak/host") == image


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Instead of the machine's programs: a few texts, which the test can change."""
    files = {"/etc/motd": "one"}

    def choose() -> Tree:
        tree = Tree()
        for path, text in files.items():
            tree.make(path, Text(text))
        return tree

    monkeypatch.setattr(contents, "choose", choose)
    return files


async def test_it_is_made_anew_when_the_machine_has_changed_and_the_old_one_goes(
    room: Room, small: dict[str, str]
) -> None:
    before = await room.images.resolve("dosirak/host")
    small["/etc/motd"] = "two"
    # Within one service the machine is looked at once.
    assert await room.images.resolve("dosirak/host") == before
    again = room.again()
    after = await again.images.resolve("dosirak/host")
    assert after.id != before.id
    assert again.images.list() == [after]
    assert not again.layers.has(before.diff_ids[0])


async def test_the_old_one_stays_while_containers_stand_on_it(room: Room, small: dict[str, str]) -> None:
    before = await room.images.resolve("dosirak/host")
    small["/etc/motd"] = "two"
    again = room.again()
    again.images.in_use = lambda id: [Usage("c" * 64, running=True)] if id == before.id else []
    await again.images.resolve("dosirak/host")
    assert (await again.images.resolve(before.id)).names == ()


async def test_a_removed_one_is_made_again(room: Room, small: dict[str, str]) -> None:
    first = await room.images.resolve("dosirak/host")
    await room.images.remove("dosirak/host")
    with pytest.raises(NotFound):
        await room.images.resolve(first.id)
    assert (await room.images.resolve("dosirak/host")).names == first.names


async def test_somebody_else_s_image_of_that_name_is_left_alone(room: Room, small: dict[str, str]) -> None:
    foreign = await room.images.commit(ImageConfig(architecture="amd64", os="linux"), [], ["dosirak/host"])
    assert await room.images.resolve("dosirak/host") == foreign


async def test_several_who_ask_at_once_get_the_same_one(room: Room, small: dict[str, str]) -> None:
    found = await asyncio.gather(*(room.images.resolve("dosirak/host") for _ in range(5)))
    assert len({image.id for image in found}) == 1
    assert room.images.list() == [found[0]]


async def test_it_is_not_listed_before_somebody_asks(room: Room, small: dict[str, str]) -> None:
    assert room.images.list() == []
    with pytest.raises(NotFound):
        await room.images.remove("dosirak/host")


def test_a_tree_takes_the_links_that_lead_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "real/bin").mkdir(parents=True)
    (tmp_path / "real/bin/tool-1.0").write_text("x")
    (tmp_path / "real/bin/tool").symlink_to("tool-1.0")
    (tmp_path / "bin").symlink_to("real/bin")
    (tmp_path / "alias").symlink_to(tmp_path / "bin/tool")
    tree = Tree()
    assert tree.add(tmp_path / "alias")
    own = {
        path.removeprefix(str(tmp_path)): node for path, node in tree.nodes.items() if path.startswith(f"{tmp_path}/")
    }
    assert own.keys() == {"/alias", "/bin", "/real", "/real/bin", "/real/bin/tool", "/real/bin/tool-1.0"}
    assert own["/bin"] == Link("real/bin")
    assert own["/real/bin/tool"] == Link("tool-1.0")
    assert isinstance(own["/real/bin/tool-1.0"], Copy)
    assert isinstance(own["/real"], Directory)


def test_a_tree_takes_no_loops_and_nothing_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    tree = Tree()
    assert [tree.add(tmp_path / name) for name in ("loop", "dangling", "nothing", "fifo")] == [False] * 4


def test_a_written_tree_is_what_was_chosen(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"#!" * 100_000)
    source.chmod(0o4755)
    os.utime(source, ns=(5, 1_500_000_000_123_456_789))
    tree = Tree()
    tree.add(source)
    tree.make("/tmp", Directory(0o1777))
    tree.make("/etc/text", Text("hello", 0o600))
    tree.make("/link", Link("etc/text"))
    root = tmp_path / "root"
    root.mkdir()
    write(tree, root)
    copied = root / str(source).lstrip("/")
    assert copied.read_bytes() == source.read_bytes()
    assert (stat.S_IMODE(copied.stat().st_mode), copied.stat().st_mtime_ns) == (0o755, 1_500_000_000_123_456_789)
    assert ((root / "link").read_text(), stat.S_IMODE((root / "etc/text").stat().st_mode)) == ("hello", 0o600)
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777


def test_fingerprints_tell_changes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")

    def fingerprint() -> str:
        tree = Tree()
        tree.add(file)
        return tree.fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    os.utime(file, (1, 1))
    assert fingerprint() != first


def test_elf_needs_are_what_the_loader_says() -> None:
    program = Path(os.path.realpath("/bin/sh"))
    found = elf.read(program)
    assert found is not None
    assert any(name.startswith("libc.so") for name in found.needed)
    assert os.path.exists(found.interpreter)
    libraries = elf.Libraries()
    said = subprocess.run([found.interpreter, "--list", program], capture_output=True, text=True, check=True).stdout
    for name in found.needed:
        path = libraries.find(name, program, found)
        assert path is not None
        assert os.path.realpath(path) in {os.path.realpath(word) for word in said.split() if word.startswith("/")}
    assert elf.read(Path(__file__)) is None
    assert libraries.find("libnothing.so.1", program, found) is None


def test_own_python_s_needs_are_found_too() -> None:
    program = Path(os.path.realpath(sys.executable))
    found = elf.read(program)
    assert found is not None
    libraries = elf.Libraries()
    assert all(libraries.find(name, program, found) for name in found.needed)
