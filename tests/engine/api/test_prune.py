"""The prunes and `system df` with the real docker CLI."""

from __future__ import annotations

import io
import json

import pytest

from support.engines import BUSYBOX
from support.tars import files


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


def test_shared_and_unique_sizes_add_up_to_what_the_layers_take(empty):
    docker, api = empty.docker, empty.client.api
    docker("build", "-q", "-t", "middle", "-", stdin=f"FROM {BUSYBOX}\nRUN head -c 300000 /dev/zero >/middle\n")
    for name, size in (("one", 10_000), ("two", 20_000)):
        docker("build", "-q", "-t", name, "-", stdin=f"FROM middle\nRUN head -c {size} /dev/zero >/{name}\n")
    docker("import", "-", "alone", stdin=files(alone="x" * 5000), text=False)
    found = api.df()
    images = {image["RepoTags"][0].partition(":")[0]: image for image in found["Images"]}
    unique = {name: image["Size"] - image["SharedSize"] for name, image in images.items()}
    assert unique == {"busybox": 0, "middle": 0, "one": 10_000, "two": 20_000, "alone": 5000}
    base = images["busybox"]["Size"]
    shared = {name: image["SharedSize"] for name, image in images.items()}
    assert shared == {
        "busybox": base,
        "middle": base + 300_000,
        "one": base + 300_000,
        "two": base + 300_000,
        "alone": 0,
    }
    assert found["LayersSize"] == base + 300_000 + 10_000 + 20_000 + 5000
    table = docker("system", "df", "-v", "--format", "{{json .Images}}").stdout
    rows = {row["Repository"]: row for row in json.loads(table)}
    assert (rows["one"]["UniqueSize"], rows["alone"]["SharedSize"], rows["alone"]["UniqueSize"]) == (
        "10kB",
        "0B",
        "5kB",
    )
    # One goes, and what it shared with nobody else with it.
    docker("rmi", "two")
    docker("builder", "prune", "-af")
    assert api.df()["LayersSize"] == found["LayersSize"] - 20_000


def test_an_empty_prune_answers_as_docker(empty):
    api = empty.client.api
    for what in ("containers", "volumes", "images", "networks"):
        answer = api._post(api._url(f"/{what}/prune"))
        assert answer.status_code == 200
        assert answer.json()[f"{what.title()}Deleted"] == ([] if what == "volumes" else None)
