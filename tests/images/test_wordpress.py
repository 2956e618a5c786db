"""The tutorials' WordPress and its database: made by our own builder, run by the two commands tutorials have."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from images import building, make, roots

from support.engines import Engine, wait_for
from support.patience import patient

pytestmark = [pytest.mark.xdist_group("wordpress"), pytest.mark.timeout(patient(900))]


@pytest.fixture(scope="module")
def pair(worker_engine: Engine) -> Iterator[Engine]:
    """An engine that has both images. The first run makes them, of the machine's Debian mirror (two minutes)."""
    recipes = make.chosen(["mysql:5.7", "wordpress"], large=True)
    if shutil.which("mmdebstrap") is None and not roots.cached((), make.CACHE):
        pytest.skip("needs mmdebstrap to make the images, once")
    try:
        archives = [building.archive(recipe, make.CACHE) for recipe in recipes]
    except (subprocess.CalledProcessError, SystemExit) as error:
        pytest.skip(f"the images could not be made: {error}")
    for archive in archives:
        worker_engine.docker("load", "-i", archive, timeout=180)
    yield worker_engine
    worker_engine.remove_containers()
    worker_engine.docker("rmi", "-f", *(recipe.names[0] for recipe in recipes))


def test_wordpress_installs_itself_on_its_linked_database(pair: Engine) -> None:
    docker = pair.docker
    docker(
        *("run", "-d", "--name", "wordpressdb", "-e", "MYSQL_ROOT_PASSWORD=pass'word"),
        *("-e", "MYSQL_DATABASE=wordpress", "mysql:5.7"),
    )
    docker(
        *("run", "-d", "-e", "WORDPRESS_DB_PASSWORD=pass'word", "--name", "wordpress"),
        *("--link", "wordpressdb:mysql", "-p", "127.0.0.1::80", "wordpress"),
    )
    try:
        address = docker("port", "wordpress", "80").stdout.strip()
        form = f"http://{address}/wp-admin/install.php"
        wait_for(lambda: "Welcome" in _page(form), 60, "WordPress to find its database")
        answers = "weblog_title=Lunch&user_name=me&admin_password=pw-of-a-test&admin_password2=pw-of-a-test&pw_weak=on"
        assert "Success!" in _page(f"{form}?step=2", f"{answers}&admin_email=me%40example.org".encode())
        assert "Lunch" in _page(f"http://{address}/")
        tables = docker("exec", "wordpressdb", "mysql", "-ppass'word", "wordpress", "-e", "show tables").stdout
        assert "wp_posts" in tables
    finally:
        docker("rm", "-f", "-v", "wordpress", "wordpressdb")


def test_a_database_without_a_password_says_what_it_needs(pair: Engine) -> None:
    done = pair.docker("run", "--rm", "mysql:5.7", check=False)
    assert done.returncode == 1
    assert "password option is not specified" in done.stderr


def _page(url: str, form: bytes | None = None) -> str:
    try:
        with urllib.request.urlopen(url, form, timeout=patient(60)) as answer:
            return answer.read().decode()
    except OSError:  # not up yet, or its database is not
        return ""
