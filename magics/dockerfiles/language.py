"""The instructions of a Dockerfile: how each is written, what it does, which flags it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PAGE = "https://docs.docker.com/reference/dockerfile/"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its forms, what it does, and its flags with what they are for ("=" ends one with a value)."""

    forms: tuple[str, ...]
    does: str
    example: str
    flags: Mapping[str, str] = field(default_factory=dict)


_OWNER = {"--chown=": "owner of the copies, user[:group]", "--chmod=": "mode of the copies, in octal"}
_COPYING = {
    **_OWNER,
    "--link": "the copies do not depend on what is below them",
    "--exclude=": "a pattern of files to leave out; may be repeated",
}

INSTRUCTIONS: Mapping[str, Instruction] = {
    "ADD": Instruction(
        ("ADD [FLAGS] SOURCE… DESTINATION", 'ADD [FLAGS] ["SOURCE", …, "DESTINATION"]'),
        "Copies files from the context into the image; an archive among them is unpacked.",
        "ADD site.tar.gz /var/www/",
        {
            **_COPYING,
            "--checksum=": "what a fetched file has to have, sha256:…",
            "--keep-git-dir": "keep .git of a repository",
            "--unpack": "unpack archives, or with =false leave them",
        },
    ),
    "ARG": Instruction(
        ("ARG NAME[=DEFAULT] …",),
        "Declares an argument of the build, set with --build-arg. Before the first FROM it is for FROM lines only.",
        "ARG VERSION=1.0",
    ),
    "CMD": Instruction(
        ('CMD ["PROGRAM", "ARGUMENT", …]', "CMD COMMAND LINE", 'CMD ["ARGUMENT", …]'),
        "What a container runs unless told otherwise; after an ENTRYPOINT, its arguments. Only the last one counts.",
        'CMD ["python3", "-m", "http.server"]',
    ),
    "COPY": Instruction(
        ("COPY [FLAGS] SOURCE… DESTINATION", 'COPY [FLAGS] ["SOURCE", …, "DESTINATION"]', "COPY <<NAME DESTINATION"),
        "Copies files into the image: from the context, from another stage or image, or written right here.",
        "COPY --from=build /out/app /usr/bin/",
        {
            "--from=": "a stage, by name or number, or an image",
            **_COPYING,
            "--parents": "keep the sources' folders",
        },
    ),
    "ENTRYPOINT": Instruction(
        ('ENTRYPOINT ["PROGRAM", "ARGUMENT", …]', "ENTRYPOINT COMMAND LINE"),
        "The program that a container is; what follows the image's name in `run`, or CMD, are its arguments.",
        'ENTRYPOINT ["/usr/bin/app"]',
    ),
    "ENV": Instruction(
        ("ENV KEY=VALUE …",),
        "Sets variables for the steps that follow and for containers of the image.",
        "ENV LANG=C.UTF-8",
    ),
    "EXPOSE": Instruction(
        ("EXPOSE PORT[/PROTOCOL] …",),
        "Tells which ports the program listens on; `run -P` publishes them.",
        "EXPOSE 80 53/udp",
    ),
    "FROM": Instruction(
        ("FROM [--platform=PLATFORM] IMAGE [AS NAME]",),
        "Begins a stage on an image, on an earlier stage, or on nothing (scratch). The last stage is the image.",
        "FROM debian:12 AS build",
        {"--platform=": "the platform of the image"},
    ),
    "HEALTHCHECK": Instruction(
        ("HEALTHCHECK [FLAGS] CMD COMMAND", "HEALTHCHECK NONE"),
        "How to find out whether a container works: status 0 is healthy, 1 is not.",
        "HEALTHCHECK --interval=30s CMD curl -f http://localhost/",
        {
            "--interval=": "time between two checks (30s)",
            "--timeout=": "time that a check may take (30s)",
            "--start-period=": "time in which failures do not count (0s)",
            "--start-interval=": "time between two checks in that period (5s)",
            "--retries=": "failures in a row that make it unhealthy (3)",
        },
    ),
    "LABEL": Instruction(
        ("LABEL KEY=VALUE …",),
        "Adds labels to the image.",
        'LABEL org.opencontainers.image.authors="me@example.org"',
    ),
    "MAINTAINER": Instruction(
        ("MAINTAINER NAME",),
        "Names the image's author. Deprecated: LABEL org.opencontainers.image.authors says the same.",
        "MAINTAINER me@example.org",
    ),
    "ONBUILD": Instruction(
        ("ONBUILD INSTRUCTION",),
        "An instruction that runs when another build stands on this image.",
        "ONBUILD COPY . /app",
    ),
    "RUN": Instruction(
        ("RUN [FLAGS] COMMAND LINE", 'RUN [FLAGS] ["PROGRAM", "ARGUMENT", …]', "RUN <<NAME"),
        "Runs a command in the image as it is so far; what it changes is a new layer.",
        "RUN --mount=type=cache,target=/root/.cache pip install numpy",
        {
            "--mount=": "something to mount meanwhile, type=bind|cache|tmpfs|secret|ssh,…; may be repeated",
            "--network=": "default, none or host",
            "--security=": "sandbox",
        },
    ),
    "SHELL": Instruction(
        ('SHELL ["PROGRAM", "ARGUMENT", …]',),
        "The shell for command lines from here on; /bin/sh -c unless told.",
        'SHELL ["/bin/bash", "-o", "pipefail", "-c"]',
    ),
    "STOPSIGNAL": Instruction(
        ("STOPSIGNAL SIGNAL",),
        "The signal that `stop` sends; SIGTERM unless told.",
        "STOPSIGNAL SIGQUIT",
    ),
    "USER": Instruction(
        ("USER USER[:GROUP]",),
        "Who runs the commands from here on, and the containers of the image.",
        "USER www-data",
    ),
    "VOLUME": Instruction(
        ("VOLUME PATH …", 'VOLUME ["PATH", …]'),
        "Folders that each container keeps in a volume of its own.",
        "VOLUME /var/lib/mysql",
    ),
    "WORKDIR": Instruction(
        ("WORKDIR PATH",),
        "The folder for what follows and for containers of the image; it is made if it is not there.",
        "WORKDIR /app",
    ),
}

PREDEFINED = tuple(f"{side}{what}" for side in ("TARGET", "BUILD") for what in ("PLATFORM", "OS", "ARCH", "VARIANT"))
"""Arguments that are there without an ARG in FROM lines, and with an ARG without a default in a stage."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "--network=": ("default", "none", "host"),
    "--platform=": ("$BUILDPLATFORM", "$TARGETPLATFORM"),
    "--security=": ("sandbox",),
}
"""What may follow a flag."""

MOUNTS: Mapping[str, tuple[str, ...]] = {
    "bind": ("target=", "source=", "from=", "rw"),
    "cache": ("target=", "id=", "sharing=", "from=", "source=", "mode=", "uid=", "gid=", "ro"),
    "secret": ("id=", "target=", "env=", "required", "mode=", "uid=", "gid="),
    "ssh": ("id=", "target=", "required", "mode=", "uid=", "gid="),
    "tmpfs": ("target=", "size="),
}
"""The kinds of `RUN --mount` and the keys of each."""

SHARING = ("shared", "private", "locked")
