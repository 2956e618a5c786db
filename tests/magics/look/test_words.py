"""Docker's wording."""

from __future__ import annotations

import pytest

from dosirak.magics.look import words
from dosirak.magics.look.html import link, tag
from dosirak.magics.look.text import escape, one_line, visible
from dosirak.magics.look.words import Port, Ports


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (3600 * 5, "5 hours"),
        (3600 * 47, "47 hours"),
        (86400 * 3, "3 days"),
        (86400 * 20, "2 weeks"),
        (86400 * 100, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_durations_are_docker_s(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1240, "1.24kB"), (4_262_000, "4.26MB"), (117_000_000, "117MB"), (1.6e10, "16GB")],
)
def test_sizes_are_docker_s(count: float, text: str) -> None:
    assert words.size(count) == text


def test_binary_sizes() -> None:
    assert words.binary_size(512 << 20) == "512MiB"
    assert words.binary_size(8_300_000_000) == "7.73GiB"


def ports(*entries: tuple[int, int, str, str]) -> str:
    return str(
        Ports.of_summary(
            [
                {"PrivatePort": private, "PublicPort": public, "IP": ip, "Type": kind}
                for private, public, ip, kind in entries
            ]
        )
    )


def test_ports_are_docker_s_column() -> None:
    assert ports((80, 0, "", "tcp")) == "80/tcp"
    assert ports((80, 32768, "0.0.0.0", "tcp")) == "0.0.0.0:32768->80/tcp"
    assert ports((80, 80, "0.0.0.0", "tcp"), (81, 81, "0.0.0.0", "tcp")) == "0.0.0.0:80-81->80-81/tcp"
    assert ports((80, 8080, "::", "tcp")) == "[::]:8080->80/tcp"
    assert ports((80, 0, "", "tcp"), (81, 0, "", "tcp"), (53, 0, "", "udp")) == "53/udp, 80-81/tcp"
    assert ports() == ""


def test_ports_of_an_inspected_container() -> None:
    found = Ports.of_settings({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "9/udp": None})
    assert found == (Port(9, "", 0, "udp"), Port(80, "127.0.0.1", 8080, "tcp"))
    assert [port.url for port in found] == ["", "http://127.0.0.1:8080/"]


def test_exit_status_names_the_signal() -> None:
    assert words.exit_status(3) == "exit status 3"
    assert words.exit_status(137) == "exit status 137 (SIGKILL)"
    assert words.exit_status(137, True) == "exit status 137 (SIGKILL: out of memory)"


def test_hostile_text_is_escaped() -> None:
    assert escape("<img src=x onerror='a'>") == "&lt;img src=x onerror=&#x27;a&#x27;&gt;"
    assert visible("a\x1b[31mb\x9b\u202ec\u200b") == "a\\e[31mb\\x9b\\u202ec\\u200b"
    assert visible("two\nlines\t.") == "two\nlines\t."
    assert one_line("two\nlines") == "two\\nlines"


def test_html_is_escaped_by_construction() -> None:
    made = tag("td", "<b>", tag("i", "&"), title='"><script>')
    assert made == '<td title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i>&amp;</i></td>'
    assert link("x", "javascript:alert(1)") == "x"
    assert 'href="http://h/"' in link("x", "http://h/")
