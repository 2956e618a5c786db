"""The suites: how each is built, which files of tests it has, and how one of them is run."""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from conformance.sources import BUILD, NotToBeHad, Source, go, need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass(frozen=True)
class Suite:
    """One suite. `tests` names its files of tests; `command` is what runs one, with {test}; `limit` is in seconds, a
    file."""

    source: Source
    build: Callable[[Path], None]
    tests: Callable[[Path], Sequence[str]]
    command: tuple[str, ...]
    folder: str
    runtime: str
    environ: dict[str, str] = field(default_factory=dict)
    limit: float = 600.0

    def run(self, tree: Path, test: str, runtime: Path, log: Path) -> str:
        """Run one file of tests; what it wrote, which `log` then has."""
        environ = {name: value.format(tree=tree) for name, value in self.environ.items()}
        path = os.pathsep.join([str(BUILD.parent / "tools/go/bin"), os.environ["PATH"]])
        words = [word.format(test=test, tree=tree) for word in self.command]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                words,
                cwd=tree / self.folder,
                env={**os.environ, "PATH": path, **environ, self.runtime: str(runtime)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(self.limit)
            except subprocess.TimeoutExpired:
                pass
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, 9)
                    process.wait()
        return log.read_text(errors="replace")


def _build_runtime_tools(tree: Path) -> None:
    go(tree, "build", "-installsuffix", "cgo", "-o", "runtimetest", "./cmd/runtimetest", cgo=False)
    for test in _validations(tree):
        program = tree / "validation" / test
        if not (program / f"{test}.t").exists():
            go(tree, "build", "-o", f"validation/{test}/{test}.t", f"./validation/{test}", cgo=False)


def _validations(tree: Path) -> list[str]:
    return sorted(
        folder.name for folder in (tree / "validation").iterdir() if any(folder.glob("*.go")) and folder.name != "util"
    )


def _build_runc(tree: Path) -> None:
    need("bats", "jq", "busybox", "mmdebstrap", "cc")
    programs = tree / "tests/cmd/_bin"
    programs.mkdir(exist_ok=True)
    for folder in sorted((tree / "tests/cmd").iterdir()):
        if any(folder.glob("*.go")) and not (programs / folder.name).exists():
            go(
                tree,
                "build",
                "-trimpath",
                "-tags",
                "seccomp",
                "-o",
                f"tests/cmd/_bin/{folder.name}",
                f"./tests/cmd/{folder.name}",
            )
    images = tree / "tests/integration/testdata"
    if not (images / f"busybox-{_ARCHITECTURE}.tar.xz").exists():
        _make_busybox(images / f"busybox-{_ARCHITECTURE}.tar.xz")
    debian = images / f"debian-{_ARCHITECTURE}.tar.xz"
    if not debian.exists():
        words = ["mmdebstrap", "-q", "--variant=minbase", "bookworm", str(debian.with_name("part.tar.xz"))]
        if subprocess.run(words, check=False).returncode:
            raise NotToBeHad("a root filesystem of Debian's (mmdebstrap)")
        debian.with_name("part.tar.xz").rename(debian)


def _make_busybox(path: Path) -> None:
    """What the Hub's image of busybox has, as far as the tests look, of Debian's busybox-static."""
    program = shutil.which("busybox")
    assert program
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    part = path.with_suffix(".part")
    with tarfile.open(part, "w:xz") as archive:
        for folder in ("bin", "dev", "etc", "home", "root", "tmp", "usr", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, {"tmp": 0o1777, "root": 0o700}.get(folder, 0o755)
            archive.addfile(entry)
        for name, text in (("passwd", b"root:x:0:0:root:/root:/bin/sh\n"), ("group", b"root:x:0:\n")):
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text))
        archive.add(os.path.realpath(program), "bin/busybox")
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.LNKTYPE, "bin/busybox"
                archive.addfile(link)
    part.rename(path)


def _bats(tree: Path) -> list[str]:
    left_out = {"checkpoint.bats"}  # CRIU, which neither this runtime nor Debian 12 has
    return sorted(path.name for path in (tree / "tests/integration").glob("*.bats") if path.name not in left_out)


def _build_crun(tree: Path) -> None:
    need("cc")
    if not (tree / "tests/init").exists():
        words = ["cc", "-static", "-I", str(BUILD), "-o", "tests/init", "tests/init.c"]
        (BUILD / "config.h").write_text("")  # of crun's ./configure, whose choices this program does not look at
        if subprocess.run(words, cwd=tree, check=False).returncode:
            raise NotToBeHad("crun's tests/init")


def _python_tests(tree: Path) -> list[str]:
    left_out = {"test_checkpoint_restore.py", "test_custom_handler.py"}  # CRIU; handlers of crun's own
    return sorted(path.name for path in (tree / "tests").glob("test_*.py") if path.name not in left_out)


SUITES = {
    "runtime-tools": Suite(
        Source("opencontainers/runtime-tools", "5e639034dcdc2422164e3d7d76a737e2fb451a67"),
        _build_runtime_tools,
        _validations,
        ("{tree}/validation/{test}/{test}.t",),
        ".",
        "RUNTIME",
        limit=120.0,
    ),
    "runc": Suite(
        Source("opencontainers/runc", "76d9cf5da5683ff449ae967db58fa8c5927ca54b"),
        _build_runc,
        _bats,
        ("bats", "-t", "{test}"),
        "tests/integration",
        "RUNC",
    ),
    "crun": Suite(
        Source("containers/crun", "ba38286f7d232be8087dbd393315bb05018da68c"),
        _build_crun,
        _python_tests,
        (sys.executable, "{test}"),
        "tests",
        "OCI_RUNTIME",
        {"INIT": "{tree}/tests/init"},
    ),
}
