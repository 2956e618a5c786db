"""A tutorial's Dockerfile as it stands: Ubuntu's name, the machine's mirror inside RUN, Apache on port 80."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import make, roots

from support.engines import Engine, wait_for
from support.patience import patient

pytestmark = pytest.mark.timeout(patient(900))

DOCKERFILE = """\
FROM ubuntu:14.04
MAINTAINER alicek106
LABEL "purpose"="practice"
RUN apt-get update
RUN apt-get install apache2 -y
ADD test.html /var/www/html
WORKDIR /var/www/html
RUN ["/bin/bash", "-c", "echo hello >> test2.html"]
EXPOSE 80
CMD apachectl -DFORGEGROUND
"""


@pytest.fixture
def ubuntu(engine: Engine) -> Iterator[Engine]:
    """An engine in which Debian's minimal system has Ubuntu's name."""
    if shutil.which("mmdebstrap") is None and not roots.cached((), make.CACHE):
        pytest.skip("needs mmdebstrap to make the image, once")
    try:
        root = roots.debian((), make.CACHE)
    except (subprocess.CalledProcessError, SystemExit) as error:
        pytest.skip(f"the image could not be made: {error}")
    engine.client.api.import_image(str(root), "ubuntu", "14.04", changes=['CMD ["/bin/bash"]'])
    yield engine
    engine.remove_containers()
    engine.docker("rmi", "-f", "mybuild:0.0", "ubuntu:14.04")


def test_it_builds_warns_and_serves_its_pages_once_the_typing_error_is_mended(ubuntu: Engine, tmp_path: Path) -> None:
    docker = ubuntu.docker
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "test.html").write_text("<h1>from the context</h1>\n")
    told = docker("build", "-t", "mybuild:0.0", tmp_path, timeout=patient(600)).stdout
    assert "Step 10/10 : CMD apachectl -DFORGEGROUND" in told and "Successfully tagged mybuild:0.0" in told
    assert "[Warning] MaintainerDeprecated" in told and "[Warning] JSONArgsRecommended" in told
    assert docker("images", "-q", "--filter", "label=purpose=practice").stdout.strip()

    # the tutorial's own typing error: Apache goes into the background, and with it the container ends
    docker("run", "-d", "-P", "--name", "typo", "mybuild:0.0")
    assert docker("wait", "typo", timeout=patient(60)).stdout.strip() == "0"

    docker("run", "-d", "-p", "127.0.0.1::80", "--name", "server", "mybuild:0.0", "apachectl", "-DFOREGROUND")
    address = docker("port", "server", "80").stdout.strip()
    wait_for(lambda: _page(f"http://{address}/test.html"), 60, "Apache to answer")
    assert _page(f"http://{address}/test.html") == "<h1>from the context</h1>\n"
    assert _page(f"http://{address}/test2.html") == "hello\n"

    again = docker("build", tmp_path, timeout=patient(60)).stdout
    assert again.count(" ---> Using cache") == 5


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=patient(10)) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):  # not up yet
        return ""
