"""Names of images: distribution/reference's grammar, short forms and error texts."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images.reference import Reference, is_full_id, parse, parse_id

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"

GOOD = {
    "ubuntu": ("docker.io", "library/ubuntu", "", "", "ubuntu"),
    "ubuntu:22.04": ("docker.io", "library/ubuntu", "22.04", "", "ubuntu:22.04"),
    "docker.io/ubuntu": ("docker.io", "library/ubuntu", "", "", "ubuntu"),
    "index.docker.io/library/ubuntu:x": ("docker.io", "library/ubuntu", "x", "", "ubuntu:x"),
    "docker.io/library/a/b": ("docker.io", "library/a/b", "", "", "library/a/b"),
    "library/ubuntu": ("docker.io", "library/ubuntu", "", "", "ubuntu"),
    "user/repo": ("docker.io", "user/repo", "", "", "user/repo"),
    "ghcr.io/a/b/c:1": ("ghcr.io", "a/b/c", "1", "", "ghcr.io/a/b/c:1"),
    "localhost/x": ("localhost", "x", "", "", "localhost/x"),
    "localhost:5000/x:y": ("localhost:5000", "x", "y", "", "localhost:5000/x:y"),
    "[::1]:5000/x": ("[::1]:5000", "x", "", "", "[::1]:5000/x"),
    "[fe80::1]/x": ("[fe80::1]", "x", "", "", "[fe80::1]/x"),
    "Uppercase/x": ("Uppercase", "x", "", "", "Uppercase/x"),
    "EXAMPLE.com/x": ("EXAMPLE.com", "x", "", "", "EXAMPLE.com/x"),
    "xn--n3h.com/x": ("xn--n3h.com", "x", "", "", "xn--n3h.com/x"),
    "a:8080": ("docker.io", "library/a", "8080", "", "a:8080"),
    "a/b:8080": ("docker.io", "a/b", "8080", "", "a/b:8080"),
    "a__b/c.d-e---f": ("docker.io", "a__b/c.d-e---f", "", "", "a__b/c.d-e---f"),
    "foo_bar.com/x": ("", "foo_bar.com/x", "", "", "foo_bar.com/x"),
    f"x@{DIGEST}": ("docker.io", "library/x", "", DIGEST, f"x@{DIGEST}"),
    f"a.b/x:t@{DIGEST}": ("a.b", "x", "t", DIGEST, f"a.b/x:t@{DIGEST}"),
    "x:" + "t" * 128: ("docker.io", "library/x", "t" * 128, "", "x:" + "t" * 128),
    "x:_T.-x": ("docker.io", "library/x", "_T.-x", "", "x:_T.-x"),
    "a.b/" + "a" * 255: ("a.b", "a" * 255, "", "", "a.b/" + "a" * 255),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_name_is_taken_apart(text: str) -> None:
    domain, path, tag, digest, familiar = GOOD[text]
    found = parse(text)
    assert found == Reference(domain, path, tag, digest)
    assert found.familiar == familiar
    assert parse(str(found)) == found


BAD = {
    "": "invalid reference format",
    " ": "invalid reference format",
    "Foo": "invalid reference format: repository name (library/Foo) must be lowercase",
    "user/Foo:T": "invalid reference format: repository name (user/Foo) must be lowercase",
    "Foo_bar/x": "repository name must be lowercase",
    HEX: f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings",
    "a" * 300: "repository name must not be more than 255 characters",
    "a.b/" + "a" * 256: "repository name must not be more than 255 characters",
    "x:" + "t" * 129: "invalid reference format",
    "x:": "invalid reference format",
    "x:-t": "invalid reference format",
    "x:t:u": "invalid reference format",
    "-x": "invalid reference format",
    "x-": "invalid reference format",
    "a..b": "invalid reference format",
    "a___b": "invalid reference format",
    "a//b": "invalid reference format",
    "/a": "invalid reference format",
    "a/": "invalid reference format",
    "../a": "invalid reference format",
    "a/../b": "invalid reference format",
    "a b": "invalid reference format",
    "a\n": "invalid reference format",
    "ａ": "invalid reference format",
    "x:t\n": "invalid reference format",
    "x:٣": "invalid reference format",
    "https://x/y": "invalid reference format",
    "[fe80::1%eth0]/x": "invalid reference format",
    "x@sha256:123": "invalid reference format",
    f"x@{DIGEST[:-1]}": "invalid checksum digest length",
    f"x@{DIGEST.upper().replace('SHA', 'sha')}": "invalid checksum digest format",
    f"x@md5:{HEX[:32]}": "unsupported digest algorithm",
    f"@{DIGEST}": "invalid reference format",
    "x" * 100_000: "invalid reference format",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:30]))
def test_what_is_no_name_is_refused_in_docker_s_words(text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{re.escape(BAD[text])}$"):
        parse(text)


# distribution/reference's own tables (reference_test.go, normalize_test.go, regexp_test.go), as far as not above.
TAKEN = [
    *("docker/docker", "debian", "localhost/library/debian", "LOCALDOMAIN/debian", "docker.io/debian", "192.168.0.1"),
    *("192.168.0.1:80", "192.168.0.1:8/debian", "[fc00::1]:5000/docker/docker", "[fc00:1:2:3:4:5:6:7]:5000/a/debian"),
    *(
        "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
        f"docker.io/{HEX}",
        "DOCKER/docker",
        "d/docker",
    ),
    *("docker---rules/docker", "dock__er/docker", "index.docker.io/docker/docker", "127.0.0.1:5000/library/debian"),
    *("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "b.gcr.io/test.example.com/my-app:test.example.com"),
    *("xn--7o8h.com/myimage:xn--7o8h.com@" + DIGEST, "foo_bar.com:8080", "foo/foo_bar.com:8080", "do__cker/docker"),
    *("[2001:db8::]:5000/repo", "[::1]:5000/repo", f"[2001:db8::1]:5000/repo:tag@{DIGEST}", f"localhost:8080@{DIGEST}"),
    *("a/" * 127 + "a:tag-puts-this-over-max", "registry.io/foo/project--id.module--name.ver---sion--name"),
    *("example.com/some_separator__underscore/myimage", "Asdf.com/foo/bar", "lowercase:Uppercase", "aa-a/a"),
]
REFUSED = [
    *(
        "https://github.com/docker/docker",
        "docker/Docker",
        "-docker/docker",
        "-docker.io/docker/docker",
        "docker///docker",
    ),
    *("docker.io/docker///docker", "[fc00::1]", "[fc00::1]:5000", "[2001:db8::1]:tag", "fc00::1:5000/debian"),
    *(
        "[fe80::1%@invalidzone]:5000/repo",
        "[2001:db8:3:4::192.0.2.33]:5000/debian",
        "docker-/docker",
        "-docker-/docker",
    ),
    *("____/____", "_docker/_docker", "docker_/docker_", "dock..er/docker", "dock_.er/docker", "dock-.er/docker"),
    *(
        "docker/",
        "foo.com:http/bar",
        "a^a",
        "aa/asdf$$^/aa",
        "foo.com/a-/a/a",
        "example.com/__underscore/x",
        ":justtag",
    ),
    *("example.com/..dots/myimage", "example.com/nodouble..dots/myimage", "docker./docker", ".docker/docker"),
    *(
        "do..cker/docker",
        "do__cker:8080/docker",
        "bad_hostname.com:8080/myapp:tag",
        "registry.com:8080/myapp:invalid~tag",
    ),
    *(
        "registry.com:8080/myapp@sha256:badbadbadbad",
        "registry.com:8080/myapp@2bad",
        "test:5000/Uppercase/lowercase:tag",
    ),
    *(
        "repo@sha256:" + "f" * 34,
        f"validname@invaliddigest:{HEX}",
        "domain/" + "a" * 256 + ":tag",
        "x/" + "this_is_" * 33,
    ),
]


@pytest.mark.parametrize("text", TAKEN, ids=lambda text: ascii(text[:40]))
def test_distribution_s_own_names_are_taken(text: str) -> None:
    found = parse(text)
    assert parse(str(found)) == found
    if HEX not in found.path:  # short for a name that looks like an id, there is none
        assert parse(found.familiar) == found


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:40]))
def test_what_distribution_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse(text)


def test_the_default_tag_is_added_where_neither_tag_nor_digest_is() -> None:
    assert str(parse("x").tagged()) == "docker.io/library/x:latest"
    assert str(parse("x:1").tagged()) == "docker.io/library/x:1"
    assert str(parse(f"x@{DIGEST}").tagged()) == f"docker.io/library/x@{DIGEST}"


def test_ids_and_their_beginnings() -> None:
    assert parse_id(DIGEST) == parse_id(HEX) == HEX
    assert parse_id("abc123") == parse_id("sha256:abc123") == "abc123"
    assert [parse_id(text) for text in ("", "xyz", "ABC", HEX + "0", "sha256:", "abc\n")] == [None] * 6
    assert [is_full_id(text) for text in (HEX, DIGEST, "abc", HEX[1:])] == [True, True, False, False]


def test_an_endless_name_takes_no_time() -> None:
    begun = time.monotonic()
    for text in ("a-" * 2000, "a." * 2000 + "!", "a/" * 2000 + "!", "A." * 2000, "a_" * 2000 + "/!", "[" + ":" * 4000):
        with pytest.raises(InvalidRequest):
            parse(text)
    assert time.monotonic() - begun < 1


words = st.text("az09", min_size=1, max_size=6)
parts = st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "--"]), words), max_size=3).flatmap(
    lambda more: words.map(lambda first: first + "".join(separator + word for separator, word in more))
)
domains = st.sampled_from(["", "docker.io/", "localhost/", "localhost:1/", "a.b/", "A/", "[::1]:5/", "x-y.z:80/"])
tags = st.just("") | st.tuples(st.sampled_from("aZ0_"), st.text("aZ0_.-", max_size=20)).map(
    lambda pair: ":" + "".join(pair)
)


@given(domains, st.lists(parts, min_size=1, max_size=4), tags, st.sampled_from(["", f"@{DIGEST}"]))
def test_every_form_of_a_name_leads_back_to_it(domain: str, path: list[str], tag: str, digest: str) -> None:
    text = domain + "/".join(path) + tag + digest
    if re.fullmatch("[a-f0-9]{64}", text):
        return
    found = parse(text)
    assert parse(str(found)) == found
    # Docker Hub's own short form is ambiguous for a first part that looks like a domain (so it is in Docker).
    if found.domain != "docker.io" or not ("." in path[0] or path[0] == "localhost"):
        assert parse(found.familiar) == found
    assert (found.tag, found.digest) == (tag[1:], digest[1:])
    assert found.familiar in str(found)


@given(st.text(max_size=80) | st.text("aA.:/@_-0", max_size=30))
def test_whatever_is_parsed_is_made_of_safe_characters(text: str) -> None:
    try:
        found = parse(text)
    except InvalidRequest as error:
        assert str(error).count("\n") <= text.count("\n")  # the name may be repeated, nothing else has lines
        return
    assert re.fullmatch(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*", found.path)
    assert ".." not in found.path.split("/")
    assert re.fullmatch(r"[\w.-]{0,128}", found.tag, re.ASCII)
    assert parse(str(found)) == found
