"""The prunes and `system df` with the real docker CLI."""

from __future__ import annotations

import io
import json

import pytest

from support.engines import BUSYBOX


@pytest.fixture
def empty(fresh_engine):
    """An engine with busybox and nothing else."""
    fresh_engine.import_busybox()
    return fresh_engine


def lines(done):
    return done.stdout.splitlines()


def test_system_prune_takes_containers_networks_dangling_images_and_the_cache(empty):
    docker, client = empty.docker, empty.client
    ended = lines(docker("run", "-d", "--label", "here", BUSYBOX, "sh", "-c", "echo x >/file"))[0]
    docker("wait", ended)
    docker("network", "create", "lonely")
    docker("volume", "create", "named")
    client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo 1 >/one\n"), tag="built")
    client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo 2 >/two\n"), tag="built")
    cache = json.loads(lines(docker("system", "df", "--format", "json"))[-1])
    assert cache["Type"] == "Build Cache" and int(cache["TotalCount"]) >= 2
    assert "Total reclaimed space: " in lines(docker("system", "prune", "-f", "--filter", "label=nosuch"))[-1]
    assert ended in docker("ps", "-aq", "--no-trunc").stdout
    done = docker("system", "prune", "-f").stdout
    assert f"Deleted Containers:\n{ended}\n" in done
    assert "Deleted Networks:\nlonely\n" in done
    assert lines(docker("volume", "ls", "-q")) == ["named"]
    assert sorted(lines(docker("images", "--format", "{{.Repository}}"))) == ["built", "busybox"]
    assert lines(docker("volume", "prune", "-f"))[-1] == "Total reclaimed space: 0B"
    assert "Deleted Volumes:\nnamed\n" in docker("volume", "prune", "-af").stdout
    assert "untagged: built:latest\n" in docker("image", "prune", "-af", "--filter", "until=0s").stdout.lower()
    docker("builder", "prune", "-af")
    assert json.loads(lines(docker("system", "df", "--format", "json"))[-1])["TotalCount"] == "0"


def test_container_prune_reports_what_went(docker, busybox):
    made = lines(docker("create", busybox, "true"))[0]
    assert lines(docker("container", "prune", "-f")) == [
        "Deleted Containers:",
        made,
        "",
        "Total reclaimed space: 0B",
    ]
    assert lines(docker("container", "prune", "-f")) == ["Total reclaimed space: 0B"]


def test_a_wrong_filter_is_dockers_error(docker):
    done = docker("container", "prune", "-f", "--filter", "status=exited", check=False)
    assert done.returncode == 1 and "invalid filter 'status'" in done.stderr


def test_system_df_counts(empty):
    docker = empty.docker
    docker("create", "--name", "one", "-v", "/data", BUSYBOX, "true")
    docker("run", "--name", "two", BUSYBOX, "sh", "-c", "head -c 3000 /dev/zero >/file")
    table = {row["Type"]: row for row in map(json.loads, lines(docker("system", "df", "--format", "json")))}
    assert (table["Containers"]["TotalCount"], table["Containers"]["Active"]) == ("2", "0")
    assert table["Containers"]["Size"] == table["Containers"]["Reclaimable"].split()[0] == "3kB"
    assert (table["Local Volumes"]["TotalCount"], table["Local Volumes"]["Active"]) == ("1", "1")
    assert (table["Images"]["TotalCount"], table["Images"]["Active"]) == ("1", "1")
    assert "one" in docker("system", "df", "-v").stdout


def test_an_empty_prune_answers_as_docker(empty):
    api = empty.client.api
    for what in ("containers", "volumes", "images", "networks"):
        answer = api._post(api._url(f"/{what}/prune"))
        assert answer.status_code == 200
        assert answer.json()[f"{what.title()}Deleted"] == ([] if what == "volumes" else None)
