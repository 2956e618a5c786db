"""What stands behind the names that tutorials use, where there is no Docker Hub: data, and nothing that pretends.

Every image carries `stands_for` as a label, and `/etc/os-release` inside is the one of what it really is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LABEL = "dosirak.tests.what-this-is"

_MINIMAL = "Debian 12 (bookworm), minimal"
_BUSYBOX = "Debian's busybox-static with its applets"


@dataclass(frozen=True)
class Recipe:
    """One image.

    `names`: all of its names on the Hub. `stands_for`: what it really is. `packages`: Debian's, on top of the minimal
    system; None makes it of busybox alone. `files`: path → text, executable if the text begins with "#!"; `links`:
    path → target. `config`: the image's configuration (Cmd, Env, …).
    `folder`: instead of all that, a folder beside this with a Dockerfile, which our own builder makes.
    `large`: made only when it is asked for.
    """

    names: tuple[str, ...]
    stands_for: str
    packages: tuple[str, ...] | None = ()
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    config: dict[str, object] = field(default_factory=dict)
    folder: str = ""
    large: bool = False

    @property
    def key(self) -> str:
        """Its name among the cached files."""
        return self.names[0].replace("/", "-").replace(":", "-")


RECIPES = (
    Recipe(("busybox:latest", "busybox:musl"), _BUSYBOX, None, config={"Cmd": ["sh"]}),
    Recipe(
        ("alpine:latest", "alpine:3"),
        f"{_BUSYBOX}; not Alpine: there is no apk and no musl",
        None,
        config={"Cmd": ["/bin/sh"]},
    ),
    Recipe(
        ("alicek106/volume_test:latest",),
        f"{_BUSYBOX}, and /home/testdir_2/test as the book's image has it",
        None,
        files={"home/testdir_2/test": "test\n"},
        config={"Cmd": ["/bin/sh"]},
    ),
    Recipe(("debian:bookworm", "debian:latest", "debian:12"), _MINIMAL, config={"Cmd": ["bash"]}),
    Recipe(
        ("ubuntu:14.04", "ubuntu:16.04", "ubuntu:20.04", "ubuntu:22.04", "ubuntu:latest"),
        f"{_MINIMAL}; not Ubuntu: Debian's userland under Ubuntu's name",
        config={"Cmd": ["/bin/bash"]},
    ),
    Recipe(
        ("nginx:latest", "nginx:alpine"),
        f"{_MINIMAL}, with Debian's nginx-light; pages are in /usr/share/nginx/html as in the official image",
        ("nginx-light",),
        files={
            "etc/nginx/sites-enabled/default": "server { listen 80 default_server; root /usr/share/nginx/html; }\n",
            "usr/share/nginx/html/index.html": "<h1>Welcome to nginx!</h1>\n",
        },
        config={"Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"},
    ),
    Recipe(
        ("python:3", "python:3.11", "python:latest"),
        f"{_MINIMAL}, with Debian's python3 (3.11); no pip",
        ("python3",),
        links={"usr/local/bin/python": "/usr/bin/python3"},
        config={"Cmd": ["python3"]},
    ),
    Recipe(
        ("mysql:5.7", "mysql:latest", "mariadb:latest"),
        f"{_MINIMAL}, with Debian's mariadb-server 10.11; not MySQL",
        folder="mysql",
        large=True,
    ),
    Recipe(
        ("wordpress:latest", "wordpress:6", "wordpress:php8.2-apache"),
        f"{_MINIMAL}, with Debian's wordpress 6.1, apache2 and PHP 8.2; not the official image: it asks nobody outside",
        folder="wordpress",
        large=True,
    ),
)
