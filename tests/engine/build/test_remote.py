"""ADD from a URL: what is fetched, what it becomes, what is refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dosirak.engine.build.inputs import Remote
from dosirak.engine.build.remote import file_name

from .conftest import Rig, tar

BODY = b"fetched\n"
SUM = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
WRONG = f"sha256:{'0' * 64}"


class Site:
    """A web server of this test: `asked` are the paths that were got."""

    def __init__(self) -> None:
        self.files = {"/f": BODY, f"/{'n' * 300}": BODY, "/d/": BODY, "/t.tar": tar({"in/f": "x"})}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                body = site.files.get(self.path.partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.send_header("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT")
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def test_file_of_a_url_is_roots_and_as_old_as_the_server_says(rig: Rig, site: Site) -> None:
    text = f"FROM busybox\nADD {site.url}/f?q=1 /x/\nRUN stat -c '%a %u %Y' /x/f && cat /x/f\n"
    assert (await rig.build(text)).output == "600 0 1000000000\nfetched\n"


async def test_flags_apply_and_a_name_is_given_where_the_url_has_none(rig: Rig, site: Site) -> None:
    text = f"FROM busybox\nADD --chmod=u=rx --chown=5:6 {site.url} {site.url}/f /x/\nRUN stat -c '%n %a %u:%g' /x/*\n"
    site.files["/"] = b""
    assert (await rig.build(text)).output == "/x/__unnamed__ 500 5:6\n/x/f 500 5:6\n"


async def test_url_may_have_blanks_and_korean_letters(rig: Rig, site: Site) -> None:
    site.files["/%ED%95%9C%20%EA%B8%80.txt"] = BODY
    built = await rig.build(f'FROM scratch\nADD ["{site.url}/한 글.txt?v=한", "/x/"]\n')
    assert set(await rig.files(built)) == {"/x/", "/x/한 글.txt"}
    assert site.asked == ["/%ED%95%9C%20%EA%B8%80.txt?v=%ED%95%9C"]


async def test_archive_of_a_url_is_unpacked_when_asked(rig: Rig, site: Site) -> None:
    plain = await rig.build(f"FROM scratch\nADD {site.url}/t.tar /x/\n")
    assert set(await rig.files(plain)) == {"/x/", "/x/t.tar"}
    unpacked = await rig.build(f"FROM scratch\nADD --unpack=true {site.url}/t.tar /x/\n")
    assert set(await rig.files(unpacked)) == {"/x/", "/x/in/", "/x/in/f"}


async def test_same_content_is_cached_and_with_a_checksum_not_even_fetched(rig: Rig, site: Site) -> None:
    await rig.build(f"FROM scratch\nADD {site.url}/f /\n")
    assert (await rig.build(f"FROM scratch\nADD {site.url}/f /\n")).cached == [2]
    site.files["/f"] = b"other"
    assert (await rig.build(f"FROM scratch\nADD {site.url}/f /\n")).cached == []
    site.files["/f"] = BODY
    await rig.build(f"FROM scratch\nADD --checksum={SUM} {site.url}/f /\n")
    site.asked.clear()
    again = await rig.build(f"FROM scratch\nARG S={SUM}\nADD --checksum=${{S}} {site.url}/f /\n")
    assert (again.cached, site.asked) == ([3], [])


async def test_other_content_than_its_checksum_fails_the_build(rig: Rig, site: Site) -> None:
    error = await rig.error(f"FROM scratch\nADD --checksum={WRONG} {site.url}/f /\n")
    assert f"digest mismatch {SUM}: {WRONG}" in str(error)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ADD {}/missing /", "status 404"),
        ("ADD --checksum=sha256:12 {}/f /", "invalid checksum digest format"),
        ("ADD --checksum=md5:00 {}/f /", "invalid checksum digest format"),
        ("ADD --checksum=sha256:12 {0}/f {0}/g /d/", "checksum can't be specified for multiple sources"),
        (f"ADD {{}}/{'n' * 300} /", "File name too long"),
        ("ADD {}/r.git /", "git repositories are not supported yet"),
    ],
)
async def test_what_can_not_be_added_is_said(rig: Rig, site: Site, line: str, said: str) -> None:
    assert said in str(await rig.error(f"FROM scratch\n{line.format(site.url)}\n"))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://x", "__unnamed__"),
        ("http://x/", "__unnamed__"),
        ("http://x/a/b.txt?c=/d", "b.txt"),
        ("http://x/a/", "a"),
        ("http://x/%2e%2e", "__unnamed__"),
        ("http://x/a%2Fb", "b"),
        ("http://x/[a]*", "[a]*"),
    ],
)
def test_file_is_called_as_its_urls_path_ends(url: str, name: str) -> None:
    assert file_name(url) == name


async def test_context_comes_from_a_url_as_an_archive_or_a_dockerfile_alone(rig: Rig, site: Site) -> None:
    site.files["/c.tgz"] = tar({"D": "FROM busybox\nCOPY f /\nRUN cat /f\n", "f": "remote\n"}, "w:gz")
    assert (await rig.build(None, Remote(f"{site.url}/c.tgz"), dockerfile="D")).output == "remote\n"
    site.files["/Dockerfile"] = b"FROM busybox\nRUN echo alone\n"
    assert (await rig.build(None, Remote(f"{site.url}/Dockerfile"))).output == "alone\n"
    assert "status 404" in str(await rig.error(None, Remote(f"{site.url}/none")))
    assert "not supported" in str(await rig.error(None, Remote("git://x/y.git")))
