"""What goes into the image: a shell, the usual commands, a Python, and the few files a system is expected to have."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from dosirak.engine.images.host.tree import Directory, Link, Text, Tree

_PLACES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")

# Words, one after the other: a list literal would be two hundred lines.
_COMMANDS = """
sh bash dash
[ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown chroot cksum comm cp csplit cut date dd df dir
dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln logname ls
md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pinky pr printenv printf ptx pwd
readlink realpath rm rmdir runcon seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat
stdbuf stty sum sync tac tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink users vdir
wc who whoami yes
grep egrep fgrep sed awk find xargs diff cmp tar gzip gunzip zcat less more which clear reset tput tset infocmp
ps top free kill pgrep pkill pidof uptime vmstat watch w sysctl pmap
hostname ip ss ping nc getent ldd ldconfig getopt logger script
mount umount findmnt mountpoint lsns nsenter unshare setpriv prlimit taskset ionice renice chrt flock ipcs ipcrm
lscpu lsblk lsmem dmesg setsid rev column hexdump getcap setcap capsh
""".split()  # noqa: SIM905

_SKIPPED_PYTHON = frozenset(
    {
        "dist-packages",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "tkinter",
        "turtledemo",
    }
)
_TERMINALS = ("d/dumb", "l/linux", "s/screen", "t/tmux-256color", "v/vt100", "x/xterm", "x/xterm-256color")

_PASSWD = """\
root:x:0:0:root:/root:{shell}
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
mail:x:8:
www-data:x:33:
audio:x:29:
video:x:44:
users:x:100:
nogroup:x:65534:
"""
_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"
_OS_RELEASE = """\
PRETTY_NAME="dosirak host ({pretty})"
NAME="dosirak host"
ID=dosirak-host
ID_LIKE="{like}"
"""
# Debian's bash reads it in every interactive shell.
_BASHRC = "PS1='\\u@\\h:\\w\\$ '\nalias ls='ls --color=auto'\nalias ll='ls -l'\n"


def choose() -> Tree:
    """The image's tree. Blocking (it looks at some two thousand files)."""
    tree = Tree()
    _add_commands(tree)
    _add_python(tree)
    _add_data(tree)
    _add_system(tree)
    return tree


def has_command(tree: Tree, name: str) -> bool:
    """Whether the image has this command."""
    return any(f"{place}/{name}" in tree.nodes for place in _PLACES)


def _add_commands(tree: Tree) -> None:
    for name in _COMMANDS:
        for place in _PLACES:
            if tree.add(Path(place, name)):
                break


def _add_python(tree: Tree) -> None:
    """The system's Python, else the one that runs us; its standard library, without what needs a screen."""
    found = _python()
    if found is None:
        return
    program, library = found
    if not tree.add(program):
        return
    tree.add_tree(library, _wanted_of_python)
    for name in ("python3", "python"):
        if not has_command(tree, name):
            tree.make(f"/usr/bin/{name}", Link(str(program)))


def _python() -> tuple[Path, Path] | None:
    """An interpreter and its standard library."""
    prefixes = (Path("/usr"), Path(sys.base_prefix))
    for prefix in prefixes:
        program = prefix / "bin/python3"
        version = re.fullmatch(r"python3\.\d+", Path(os.path.realpath(program)).name)
        if version is None:
            continue
        library = prefix / "lib" / version[0]
        if (library / "os.py").is_file():
            return program, library
    return None


def _wanted_of_python(path: Path) -> bool:
    if path.name in _SKIPPED_PYTHON or path.name.startswith("config-"):
        return False
    return ".opt-" not in path.name and path.suffix != ".a"


def _add_data(tree: Tree) -> None:
    """Small data that programs look up: terminals' abilities, the C.UTF-8 locale, certificates, the loader's cache."""
    for place in ("/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo"):
        for name in _TERMINALS:
            tree.add(Path(place, name))
    for name in ("C.utf8", "C.UTF-8"):
        if Path("/usr/lib/locale", name).is_dir():
            tree.add_tree(Path("/usr/lib/locale", name), lambda _: True)
    for name in ("/etc/ssl/certs/ca-certificates.crt", "/etc/ld.so.cache", "/etc/protocols", "/etc/services"):
        tree.add(Path(name))


def _add_system(tree: Tree) -> None:
    shell = "/bin/bash" if has_command(tree, "bash") else "/bin/sh"
    for path in (
        "/dev",
        "/etc",
        "/home",
        "/mnt",
        "/opt",
        "/proc",
        "/run",
        "/srv",
        "/sys",
        "/var/log",
        "/usr/local/bin",
    ):
        tree.make(path, Directory())
    tree.make("/root", Directory(0o700))
    tree.make("/tmp", Directory(0o1777))
    tree.make("/var/tmp", Directory(0o1777))
    tree.make("/etc/passwd", Text(_PASSWD.format(shell=shell)))
    tree.make("/etc/group", Text(_GROUP))
    tree.make("/etc/nsswitch.conf", Text(_NSSWITCH))
    tree.make("/etc/bash.bashrc", Text(_BASHRC))
    release = host_release()
    like = " ".join(dict.fromkeys(f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()))
    tree.make("/etc/os-release", Text(_OS_RELEASE.format(pretty=release.get("PRETTY_NAME", "Linux"), like=like)))


def host_release() -> dict[str, str]:
    """This machine's /etc/os-release."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip("\"'").replace('"', "").replace("\\", "") for key, _, value in pairs}
