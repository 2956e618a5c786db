"""Every view of hostile names, labels, commands, logs, build output and errors: as HTML, as text, in a real browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.errors import DosirakError
from support.engines import Engine

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>'\"&"
TERMINAL = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x9b31m\u202e\u200b"
EVIL = f"{MARKUP}{TERMINAL}$x_1$"
NETWORK = "<svg\u2003onload=alert(1)>'\"&"  # a name takes no blank and no slash
HARMLESS_TAGS = frozenset(
    ("div", "span", "table", "thead", "tbody", "tr", "td", "th", "b", "pre", "details", "summary", "a", "img", "style")
)
ATTRIBUTES = frozenset(
    (
        *("style", "class", "href", "target", "rel", "open", "aria-hidden", "src", "alt", "border", "scope", "title"),
        "colspan",
    )
)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in HARMLESS_TAGS:
            self.bad.append(tag)
        for name, value in attrs:
            text = value or ""
            if name not in ATTRIBUTES or (name == "href" and not re.match(r"https?://(localhost|[0-9.]+)[:/]", text)):
                self.bad.append(f"{tag} {name}={text}")
            if name == "src" and not text.startswith("data:image/svg+xml;base64,"):
                self.bad.append(f"{tag} {name}={text}")
            if name == "style" and re.search(r"url\(|expression|@import", text):
                self.bad.append(f"{tag} {name}={text}")

    def handle_data(self, data: str) -> None:
        self.text += data


def harmful(page: str) -> list[str]:
    """What in a piece of HTML is not one of our own harmless elements."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.bad + [f"control {ord(c):x}" for c in "\x1b\x07\x9b\u202e\u200b" if c in page]


def unsafe(text: str, turned: str = "\u202e\u200b") -> list[str]:
    """What in a piece of text a terminal would obey: anything but colours, tabs and line ends; and what turns words."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [f"{ord(c):x}" for c in plain if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or c in turned]


def views(value: Any) -> Iterator[tuple[str, str]]:
    """All that a front end could show of a value, as (kind, text)."""
    if value is None:
        return
    yield "text", repr(value)
    if hasattr(value, "_repr_html_") and (page := value._repr_html_()) is not None:
        yield "html", page
    if hasattr(value, "columns"):  # a frame, and what a person makes of it
        yield "html", value.head()._repr_html_()
        yield "text", repr(value.head())
        yield "html", value.T._repr_html_()


@pytest.fixture
def world(engine: Engine, busybox: str) -> Iterator[Engine]:
    """An engine in which everything that takes a word was given an evil one."""
    import docker as docker_py

    client = engine.client.api
    engine.docker("build", "-q", "-t", "evil", "-", stdin=f"FROM {busybox}\nLABEL a=b\n")
    network = client.create_network(NETWORK, labels={"evil": EVIL, EVIL: "x"}, options={"evil": EVIL})
    client.create_volume("evil", labels={"evil": EVIL})
    box = client.create_container(
        "evil", ["sh", "-c", "printf '%s\\n' \"$0\" \"$0\" >&2; printf '%s\\n' \"$0\"; sleep 600; :", EVIL],
        name="box", labels={"evil": EVIL}, environment={"EVIL": EVIL}, hostname="h",
        host_config=client.create_host_config(network_mode=network["Id"], binds=["evil:/<i>v</i>"]),
    )  # fmt: skip
    client.start(box)
    failed = client.create_container("evil", [EVIL], name="failed", labels={"evil": EVIL})
    with pytest.raises(docker_py.errors.APIError):
        client.start(failed)
    client.commit("box", "evil", "two", message=EVIL, author=EVIL, changes=["LABEL later=<i>"])
    yield engine
    engine.remove_containers()
    client.remove_network(network["Id"])
    client.remove_volume("evil")
    for tag in ("evil:two", "evil"):
        client.remove_image(tag, force=True)


# Magic, line, and whether the evil words are part of what it shows.
SHOWN = [
    ("container", "ps -a --no-trunc", True),
    ("container", "ps -a --no-trunc --format json", True),
    ("container", "inspect box failed", True),
    ("container", "top box", True),
    ("container", "stats --no-stream box", False),
    ("container", "port box", False),
    ("container", "diff box", False),
    ("image", "ls --no-trunc", False),
    ("image", "inspect evil:two", True),
    ("image", "history --no-trunc evil:two", True),
    ("network", "ls", True),
    ("network", "inspect box", False),
    ("volume", "ls", False),
    ("volume", "inspect evil", True),
    ("docker", "system df -v", False),
    ("docker", "events --since 10m --until 0m", True),
    ("docker", "info", False),
    ("docker", "logs box", True),
    ("docker", 'exec box sh -c \'printf "%s" "$EVIL"\'', True),
    ("topology", "", False),
    ("layers", "evil:two", False),
]


def seen(magic: Any, capsys: pytest.CaptureFixture[str], name: str, line: str) -> list[tuple[str, str]]:
    """Everything that one command puts before a person."""
    try:
        value = magic(name, line)
        found = list(views(value))
    except DosirakError as error:
        found = [("text", "\n".join(error._render_traceback_())), ("text", repr(error))]
    captured = capsys.readouterr()
    return [*found, ("text", captured.out), ("text", captured.err)]


@pytest.fixture
def every_view(
    magic: Any, shell: Any, world: Engine, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> dict[str, list[tuple[str, str]]]:
    found = {f"{name} {line}": seen(magic, capsys, name, line) for name, line, _ in SHOWN}
    monkeypatch.chdir(tmp_path)  # the context of a build
    box = magic("container", "run -d --name shown --label 'evil=<img src=x onerror=alert(1)>' busybox sleep 600")
    found["an object"] = list(views(box))
    for line in ("inspect {evil}", "run --rm busybox {evil}", "rm {evil}", "run --network {evil}x busybox", "{evil}"):
        shell.user_ns["evil"] = EVIL
        found[f"error {line}"] = seen(magic, capsys, "container", line)
    file = f'FROM busybox\nENV E={"<img src=x onerror=alert(1)>"!r}\nRUN printf "\\033]0;owned\\007<script>"; false\n'
    found["a build"] = seen_cell(magic, capsys, file)
    found["a wrong build"] = seen_cell(magic, capsys, f"FROM busybox\n{EVIL} x\n")
    return found


def seen_cell(magic: Any, capsys: pytest.CaptureFixture[str], file: str) -> list[tuple[str, str]]:
    from IPython.utils.capture import capture_output

    found = []
    with capture_output(stdout=False, stderr=False) as captured:
        try:
            found += list(views(magic("dockerfile", "-t evilbuild", file)))
        except DosirakError as error:
            found.append(("text", "\n".join(error._render_traceback_())))
    for output in captured.outputs:
        found += [("html", output.data.get("text/html", "")), ("text", output.data.get("text/plain", ""))]
    written = capsys.readouterr()
    return [*found, ("text", written.out), ("text", written.err)]


def test_no_view_carries_markup_or_commands_of_others(every_view: dict[str, list[tuple[str, str]]]) -> None:
    bad = {}
    for name, found in every_view.items():
        # What a container writes may be Arabic: only there letters may turn others.
        turned = "" if name.startswith(("docker logs", "docker exec")) else TERMINAL[-2:]
        wrong = [part for kind, text in found for part in (harmful(text) if kind == "html" else unsafe(text, turned))]
        if wrong:
            bad[name] = sorted(set(wrong))[:4]
    assert bad == {}
    # The control: the evil words are there, as words.
    for name, line, wanted in SHOWN:
        whole = " ".join(html.unescape(text) for _, text in every_view[f"{name} {line}"])
        assert not wanted or "onerror" in whole or "onload" in whole, line
    pages = [text for found in every_view.values() for kind, text in found if kind == "html" and text]
    assert len(pages) > 20
    if BROWSER is None:
        pytest.skip("no browser is here to open them in (Debian: apt install chromium)")
    assert (in_browser(pages), in_browser([f"<div>{MARKUP}</div>"])) == ("safe", "owned")


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def in_browser(pages: list[str]) -> str:
    """The title of a page of all these, opened in a real browser: "owned" when a script of theirs has run."""
    assert BROWSER is not None
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text("<meta charset=utf-8><title>safe</title>" + "\n".join(pages))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
        done = subprocess.run([BROWSER, *flags, f"file://{page}"], capture_output=True, text=True, timeout=100)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    return title.group(1)


def test_control_what_is_harmful_is_seen() -> None:
    assert harmful(f"<td>{MARKUP}</td>")
    assert harmful('<a href="javascript:alert(1)">x</a>')
    assert harmful('<a href="http://evil.example/">x</a>')
    assert harmful('<div style="background:url(http://x)">x</div>')
    assert harmful("<td>\x1b]0;x</td>")
    assert not harmful(f"<td>{html.escape(MARKUP)}</td>")
    assert unsafe(TERMINAL)
    assert not unsafe("\x1b[31mred\x1b[39m\n")


def test_the_command_at_a_terminal_shows_names_as_words(world: Engine) -> None:
    command = str(Path(sys.executable).with_name("dosirak"))
    for arguments in (
        ["ps", "-a", "--no-trunc"], ["network", "ls"], ["image", "history", "--no-trunc", "evil:two"],
        ["inspect", "box"], ["topology"], ["volume", "inspect", "evil"], ["top", "box"], ["inspect", EVIL],
        ["run", "--rm", "busybox", EVIL], ["layers", "evil:two"],
    ):  # fmt: skip
        done = subprocess.run([command, *arguments], capture_output=True, text=True, env=world.environment())
        assert unsafe(done.stdout + done.stderr) == [], arguments
