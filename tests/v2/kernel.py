"""Debian's stock kernel, taken out of its package without installing it, and an initramfs for it."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

GUEST = Path(__file__).with_name("guest")
BUSYBOX = Path("/bin/busybox")

# For the root file system, then what the engine uses and finds built in or loaded by modprobe elsewhere.
# (crc32c: asked for by name, which is no dependency the modules tell of).
_FIRST = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "crc32c_generic")
_LATER = (
    *("veth", "bridge", "br_netfilter", "nf_tables", "nft_chain_nat", "nft_masq", "nft_nat", "nft_ct", "nft_fib_inet"),
    *("nft_redir", "nft_reject_inet", "loop", "ext4", "quota_v2", "bfq", "fuse", "tun", "dummy"),
)


class NotToBeHad(Exception):
    """A package can't be fetched here; says which."""


class Kernel:
    """An unpacked kernel package below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def image(self) -> Path:
        """The bzImage."""
        return next((self.folder / "package/boot").glob("vmlinuz-*"))

    @property
    def initramfs(self) -> Path:
        """Made by `fetch`."""
        return self.folder / "initramfs"

    def fetch(self) -> None:
        """Make it be there: about 70 MB from Debian's mirror, once. Raises NotToBeHad."""
        if not (self.folder / "package").is_dir():
            self._unpack()
        self.initramfs.write_bytes(b"".join(_cpio(self._entries())))

    def _unpack(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        package = _newest_kernel()
        for old in self.folder.glob("*.deb"):
            old.unlink()
        _run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package, cwd=self.folder)
        (archive,) = self.folder.glob("*.deb")
        made = self.folder / "package.new"
        shutil.rmtree(made, ignore_errors=True)
        _run("dpkg", "-x", str(archive), str(made), cwd=self.folder)
        made.rename(self.folder / "package")
        archive.unlink()

    def _entries(self) -> Iterator[tuple[str, int, bytes]]:
        """(name, mode, content) of everything in the initramfs."""
        for folder in ("bin", "proc", "sys", "dev", "exchange", "low", "rw", "new", "modules"):
            yield folder, stat.S_IFDIR | 0o755, b""
        yield "bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()
        yield "init", stat.S_IFREG | 0o755, (GUEST / "init").read_bytes()
        package = self.folder / "package"
        paths = [*package.glob("lib/modules/**/*.ko*"), *package.glob("usr/lib/modules/**/*.ko*")]
        found = {path.name.partition(".")[0].replace("-", "_"): path for path in paths}
        order: list[str] = []
        for name in (*_FIRST, *_LATER):
            _add(name, found, order)
        for name in order:
            yield f"modules/{name}", stat.S_IFREG | 0o644, _module(found[name])
        yield "modules/order", stat.S_IFREG | 0o644, " ".join(order).encode()


def _newest_kernel() -> str:
    for attempt in range(2):
        listed = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True)
        if names := re.findall(r"Depends: (linux-image-\S+)", listed.stdout):
            return str(names[0])
        if not attempt:
            _run("apt-get", "update", "-qq")
    raise NotToBeHad("no package linux-image-amd64 among apt's (only Debian on x86-64 is provided for)")


def _run(*command: str, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotToBeHad(f"{command[0]} is not there") from error
    if done.returncode:
        raise NotToBeHad(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def _module(path: Path) -> bytes:
    """Compressed since Debian 13."""
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def _add(name: str, found: dict[str, Path], order: list[str]) -> None:
    """A module after those it needs. One that is not there is built in, or not to be had."""
    if name in order or name not in found:
        return
    # .modinfo of the ELF file: strings "key=value" (linux/module.h).
    needs = re.search(rb"\0depends=([\w,-]*)\0", _module(found[name]))
    for needed in needs[1].decode().split(",") if needs else ():
        _add(needed.replace("-", "_"), found, order)
    order.append(name)


def _cpio(entries: Iterator[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """An archive as the kernel unpacks it, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    for number, (name, mode, content) in enumerate((*entries, ("TRAILER!!!", 0, b"")), start=1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
        yield head + bytes(-len(head) % 4)
        yield content + bytes(-len(content) % 4)
