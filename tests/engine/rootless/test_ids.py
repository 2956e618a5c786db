"""Which ids a user has: /etc/subuid and /etc/subgid, and the maps made of them."""

from __future__ import annotations

import pytest

from dosirak.engine.rootless import outward
from dosirak.engine.rootless.ids import Ids, Range, first_free, parse
from dosirak.engine.runtime.privilege import Privilege

TABLE = """\
root:100000:65536
alice:165536:65536
# a comment
1001:300000:1000
alice : 1 : 2
alice:400000:0
alice:x:65536
alice:500000:10
"""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"alice"}, (Range(165536, 65536), Range(500000, 10))),
        ({"bob", "1001"}, (Range(300000, 1000),)),
        ({"alic"}, ()),
        (set(), ()),
    ],
)
def test_a_users_ranges_stand_under_name_or_number(names: set[str], expected: tuple[Range, ...]) -> None:
    assert parse(TABLE, names) == expected


def test_what_nobody_has_begins_after_everybodys_last() -> None:
    assert first_free(TABLE) == 500010
    assert first_free("", "bob:7:3\nrubbish:x:y") == 100000
    assert first_free("bob:100000:65536\n", "bob:100000:65536\neve:165536:65536\n") == 231072


def test_root_is_the_user_and_the_ranges_follow() -> None:
    ids = Ids(1000, 100, (Range(165536, 65536), Range(500000, 10)), (Range(200000, 5),))
    assert ids.uid_map == [(0, 1000, 1), (1, 165536, 65536), (65537, 500000, 10)]
    assert ids.gid_map == [(0, 100, 1), (1, 200000, 5)]
    assert not ids.single


def test_without_a_range_of_both_kinds_there_is_one_id() -> None:
    assert Ids(1000, 1000).single
    assert Ids(1000, 1000, uids=(Range(1, 2),)).single


@pytest.mark.parametrize(
    ("text", "confined", "single"),
    [
        ("         0          0 4294967295\n", False, False),
        ("         0       1000          1\n", True, True),
        ("         0       1000          1\n         1     100000      65536\n", True, False),
    ],
)
def test_what_a_process_may_is_read_from_its_maps(text: str, confined: bool, single: bool) -> None:
    found = Privilege(text, text)
    assert (found.confined, found.single) == (confined, single)


def test_an_id_beyond_the_range_is_none() -> None:
    text = "0 1000 1\n1 100000 65536\n"
    found = Privilege(text, text)
    assert found.has(0, 65536)
    assert not found.has(65537, 0)
    assert not found.has(0, 65537)
    assert found.last_gid == 65536
    assert Privilege("0 0 4294967295", "0 0 4294967295").last_gid == (1 << 31) - 1


def test_the_program_that_leads_outside_opens_no_port_by_itself_and_not_the_hosts_loopback() -> None:
    pasta = outward.Outward("/usr/bin/pasta", outward._PASTA, "169.254.1.1").command("/run/x/netns")
    assert pasta[-2:] == ["--netns", "/run/x/netns"]
    assert [pasta[pasta.index(flag) + 1] for flag in ("-t", "-u", "-T", "-U")] == ["none"] * 4
    assert "--no-map-gw" in pasta
    slirp = outward.Outward("/usr/bin/slirp4netns", outward._SLIRP, "10.0.2.3").command("/run/x/netns")
    assert {"--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"} <= set(slirp)
