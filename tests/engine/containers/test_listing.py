"""`ps`: order, filters, words."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import listing
from dosirak.engine.containers.documents import ContainerConfig, EndpointSettings, HostConfig, PortBinding
from dosirak.engine.containers.model import Container, State
from dosirak.engine.containers.mounts import MountPlan
from dosirak.engine.errors import InvalidRequest, NotFound


def container(name, created, *, image="nginx:1", labels=None, running=False, exit_code=None, plans=()):
    started = 100.0 if running or exit_code is not None else 0.0
    return Container(
        id=f"{created:02x}" * 32,
        name=name,
        created=float(created),
        image="sha256:" + "ab" * 32,
        path="sh",
        args=[],
        config=ContainerConfig(image=image, labels=labels or {}),
        host_config=HostConfig(),
        networks={"bridge": EndpointSettings(network_id="feed" * 16)},
        mount_plans=list(plans),
        state=State(
            running=running,
            started_at=started,
            finished_at=200.0 if exit_code is not None else 0.0,
            exit_code=exit_code or 0,
        ),
    )


WEB = container("web", 1, running=True, labels={"tier": "front", "env": "prod"})
DB = container(
    "db",
    2,
    image="registry.example/postgres",
    exit_code=3,
    plans=[MountPlan(type="volume", name="data", source="/v", destination="/var/lib")],
)
NEW = container("new", 3, image="busybox")
ALL = [WEB, DB, NEW]
PORTS = {"web": {"80/tcp": [PortBinding(host_ip="0.0.0.0", host_port="8080")], "443/tcp": None}}


def names(*, all=False, limit=0, **filters):
    def find(ref):
        for entry in ALL:
            if ref in (entry.name, entry.id):
                return entry
        raise NotFound(f"No such container: {ref}")

    found = listing.choose(
        ALL, all=all, limit=limit, filters=filters, find=find, published=lambda entry: PORTS.get(entry.name, {})
    )
    return [entry.name for entry in found]


def test_the_newest_comes_first_and_only_running_ones_by_default():
    assert names() == ["web"]
    assert names(all=True) == ["new", "db", "web"]
    assert names(limit=2) == ["new", "db"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"name": ["e"]}, ["new", "web"]),
        ({"name": ["^web$"]}, ["web"]),
        ({"name": ["^/web$"]}, ["web"]),
        ({"id": ["0101"]}, ["web"]),
        ({"label": ["tier=front", "env"]}, ["web"]),
        ({"label": ["tier=back"]}, []),
        ({"status": ["exited", "created"]}, ["new", "db"]),
        ({"exited": ["3"]}, ["db"]),
        ({"exited": ["0"]}, []),
        ({"ancestor": ["nginx:1"]}, ["web"]),
        ({"ancestor": ["busybox:latest"]}, ["new"]),
        ({"ancestor": ["registry.example/postgres"]}, ["db"]),
        ({"ancestor": ["abab"]}, ["new", "db", "web"]),
        ({"before": ["new"]}, ["db", "web"]),
        ({"since": ["web"]}, ["new", "db"]),
        ({"volume": ["data"]}, ["db"]),
        ({"volume": ["/var/lib"]}, ["db"]),
        ({"network": ["bridge"]}, ["new", "db", "web"]),
        ({"network": ["feed"]}, ["new", "db", "web"]),
        ({"network": ["other"]}, []),
        ({"publish": ["8080"]}, ["web"]),
        ({"publish": ["8000-8100/tcp"]}, ["web"]),
        ({"expose": ["443/tcp"]}, ["web"]),
        ({"expose": ["443/udp"]}, []),
        ({"health": ["none"]}, ["new", "db", "web"]),
        ({"health": ["healthy"]}, []),
        ({"is-task": ["true"]}, []),
    ],
)
def test_filters(filters, found):
    assert names(all=True, **filters) == found


def test_a_status_filter_shows_stopped_ones_without_all():
    assert names(status=["exited"]) == ["db"]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"colour": ["red"]}, "invalid filter 'colour'"),
        (
            {"status": ["odd"]},
            "invalid filter 'status=odd': invalid value for state (odd): must be one of created, running, paused,"
            " restarting, removing, exited, dead",
        ),
        (
            {"health": ["odd"]},
            "invalid filter 'health=odd': invalid value for health (odd): must be one of none, starting, healthy,"
            " unhealthy",
        ),
        ({"exited": ["x"]}, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"publish": ["1:2"]}, "filter for 'publish' should not contain ':': 1:2"),
    ],
)
def test_bad_filters(filters, words):
    with pytest.raises(InvalidRequest) as error:
        names(all=True, **filters)
    assert words in str(error.value)


def test_before_an_unknown_container_is_not_found():
    with pytest.raises(NotFound, match="No such container: nope"):
        names(all=True, before=["nope"])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (150, "2 minutes"),
        (46 * 60, "46 minutes"),
        (3700, "About an hour"),
        (5 * 3600, "5 hours"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations_in_dockers_words(seconds, words):
    assert listing.duration(seconds) == words


def test_status_words():
    assert listing.status(WEB, 220.0) == "Up 2 minutes"
    assert listing.status(DB, 203.0) == "Exited (3) 3 seconds ago"
    assert listing.status(NEW) == "Created"
    restarting = container("r", 4, running=True, exit_code=1)
    restarting.state.restarting = True
    assert listing.status(restarting, 210.0) == "Restarting (1) 10 seconds ago"
    assert restarting.state.status == "restarting"
