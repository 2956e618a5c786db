"""What of a tutorial's page is a command, where it begins and ends, and what is only shown."""

from __future__ import annotations

import pytest

from dosirak.magics.errors import UsageError
from dosirak.magics.pages import read


def texts(page: str) -> list[str]:
    return [statement.text for statement in read(page)]


PAGES = {
    "one line": ("docker ps", ["docker ps"]),
    "lines without prompts": ("docker pull busybox\ndocker images\n", ["docker pull busybox", "docker images"]),
    "blank lines and comments": ("\n# first\n\ndocker ps\n  # second\n", ["docker ps"]),
    "dollar prompts and what was printed": (
        "$ docker ps\nCONTAINER ID   IMAGE\n0123456789ab   nginx\n$ docker images\nREPOSITORY\n",
        ["docker ps", "docker images"],
    ),
    "indented prompts": ("    $ docker ps\n    CONTAINER ID\n    $ docker images", ["docker ps", "docker images"]),
    "zsh's prompt": ("% docker ps\nCONTAINER ID\n", ["docker ps"]),
    "root's prompt": ("# docker ps\nCONTAINER ID   IMAGE\n# docker images\n", ["docker ps", "docker images"]),
    "comments beside bare commands": ("# docker ps shows them\ndocker ps\n", ["docker ps"]),
    "user@host": ("alice@laptop:~$ docker ps\nCONTAINER ID\nalice@laptop:~/app$ ls\n", ["docker ps", "ls"]),
    "root@host": (
        "root@ubuntu:~# docker ps\nCONTAINER ID\nroot@ubuntu:/home# docker images",
        ["docker ps", "docker images"],
    ),
    "[root@host ~]#": ("[root@centos ~]# docker ps\nCONTAINER ID\n", ["docker ps"]),
    "comments under prompts": ("$ # list them\n$ docker ps\n", ["# list them", "docker ps"]),
    "a continued line": (
        "docker run -d \\\n  --name web \\\n  nginx\ndocker ps",
        ["docker run -d \\\n  --name web \\\n  nginx", "docker ps"],
    ),
    "a continued line under prompts": (
        "$ docker run -d \\\n> -p 80 \\\n> nginx\n0f3c\n",
        ["docker run -d \\\n-p 80 \\\nnginx"],
    ),
    "quotes over lines": (
        "docker run busybox sh -c '\necho a\necho b\n'\ndocker ps",
        ["docker run busybox sh -c '\necho a\necho b\n'", "docker ps"],
    ),
    "double quotes over lines": ('echo "a\nb"\nls', ['echo "a\nb"', "ls"]),
    "an apostrophe in a comment is no quote": ("docker ps # what's up\nls", ["docker ps # what's up", "ls"]),
    "a here-document": (
        "cat <<EOF > Dockerfile\nFROM busybox\n# comment\nEOF\ndocker build .",
        ["cat <<EOF > Dockerfile\nFROM busybox\n# comment\nEOF", "docker build ."],
    ),
    "a quoted here-document under prompts": (
        "$ cat > f <<'END'\n> $HOME\n> END\n$ cat f\n",
        ["cat > f <<'END'\n$HOME\nEND", "cat f"],
    ),
    "a loop": (
        "for i in 1 2; do\n  docker run busybox echo $i\ndone\nls",
        ["for i in 1 2; do\n  docker run busybox echo $i\ndone", "ls"],
    ),
    "a function": ("say() {\n  echo $1\n}\nsay x", ["say() {\n  echo $1\n}", "say x"]),
    "an open pipe": ("docker ps |\n  wc -l\nls", ["docker ps |\n  wc -l", "ls"]),
    "an open &&": ("docker pull busybox &&\ndocker images", ["docker pull busybox &&\ndocker images"]),
    "a command substitution over lines": (
        "docker rm $(docker ps \\\n  -aq)\nls",
        ["docker rm $(docker ps \\\n  -aq)", "ls"],
    ),
    "Windows line ends": ("docker ps\r\ndocker images\r\n", ["docker ps", "docker images"]),
    "spaces that do not break": ("docker\xa0ps\n", ["docker ps"]),
    "an escaped backslash continues nothing": ("echo a\\\\\nls", ["echo a\\\\", "ls"]),
    "nothing": ("\n\n", []),
    "only output": ("", []),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_into_its_commands(name):
    page, expected = PAGES[name]
    assert texts(page) == expected


NAMED = "root@3f4c5d6e7f80:/# "
INSIDE = {
    "root@id": f"$ docker run -it ubuntu bash\n{NAMED}ls\nbin  boot\n{NAMED}exit\n$ docker ps\n",
    "a folder": "$ docker run -it alpine\n/ # ls\nbin  boot\n/ # exit\n$ docker ps\n",
    "bash": "$ docker exec -it web bash\nbash-5.1# ls\nbin  boot\nbash-5.1# exit\n$ docker ps\n",
    "without prompts outside": f"docker run -it ubuntu bash\n{NAMED}ls\n{NAMED}exit\ndocker ps\n",
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_typed_into_a_container_belongs_to_its_command(name):
    first, second = read(INSIDE[name])
    assert first.text.startswith("docker")
    assert first.typed == "ls\nexit\n"
    assert (second.text, second.typed) == ("docker ps", "")


def test_a_statement_knows_its_line():
    assert [statement.line for statement in read("\n$ docker ps\nCONTAINER ID\n\n$ ls\n")] == [2, 5]


PLAIN = {
    "docker ps -a": "ps -a",
    "docker": "",
    "sudo docker ps": "ps",
    "sudo -E docker ps": "ps",
    "docker run --name $NAME busybox": "run --name $NAME busybox",
    "docker rm $(docker ps -aq)": "rm $(docker ps -aq)",
    "docker run busybox sh -c 'a | b > c'": "run busybox sh -c 'a | b > c'",
    "docker run \\\n busybox": "run   busybox",
    "docker ps | wc -l": None,
    "docker ps > file": None,
    "docker ps && ls": None,
    "docker ps; ls": None,
    "docker run nginx &": None,
    "(docker ps)": None,
    "NAME=x docker ps": None,
    "ls": None,
    "dockerd": None,
}


@pytest.mark.parametrize("text", PLAIN)
def test_one_docker_command_and_nothing_else_is_run_here(text):
    (statement,) = read(text)
    assert statement.arguments == PLAIN[text]


@pytest.mark.parametrize("page", ["echo 'open", "docker run \\", "cat <<EOF\nno end", "for i in 1 2; do\necho $i"])
def test_a_command_without_an_end_is_said_with_its_line(page):
    with pytest.raises(UsageError, match="line 2: this command has no end"):
        read(f"ls\n{page}")
