"""The topology: what is drawn, that nothing overlaps, and that nothing from outside becomes markup."""

from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from dosirak.magics.errors import DosirakError
from dosirak.magics.topology.layout import place
from dosirak.magics.topology.model import read
from dosirak.magics.topology.picture import Topology


def document(wired: int, others: dict[str, int] | None = None, name: str = "web") -> dict[str, Any]:
    containers, endpoints = [], []
    for number in range(wired):
        identity = f"{number:064x}"
        ports = [
            {"container_port": 80 + p, "protocol": "tcp", "host_ip": "0.0.0.0", "host_port": 8000 + 10 * number + 2 * p}
            for p in range(number % 3)
        ]
        containers.append(
            {"id": identity, "name": f"{name}{number}", "image": "nginx", "state": "running", "status": "Up 2 seconds"}
            | {"pid": 100 + number, "networks": ["bridge"], "ports": {}}
        )
        endpoints.append(
            {"container": identity, "name": f"{name}{number}", "veth": f"veth{number}", "ip": f"172.19.0.{number + 2}"}
            | {"mac": f"02:42:ac:13:00:{number + 2:02x}", "ports": ports}
        )
    for kind, count in (others or {}).items():
        for number in range(count):
            state = "exited" if kind == "stopped" else "running"
            networks = {"host": ["host"], "none": ["none"]}.get(kind, [])
            containers.append(
                {"id": f"{kind}{number}".ljust(64, "0"), "name": f"{kind}{number}", "image": "x", "state": state}
                | {"status": "Exited (1) 2 hours ago" if state == "exited" else "Up", "pid": 7, "networks": networks}
            )
    network = {"id": "n", "name": "bridge", "driver": "bridge", "bridge": "dosirak0", "subnet": "172.19.0.0/16"}
    plain = {"id": "h", "name": "host", "driver": "host", "bridge": "", "subnet": "", "gateway": "", "endpoints": []}
    return {
        "host": {"name": "box", "kernel": "6.18"},
        "networks": [network | {"gateway": "172.19.0.1", "endpoints": endpoints}, plain],
        "containers": containers,
    }


COUNTS = [(0, {}), (1, {}), (4, {"stopped": 2}), (10, {"host": 1, "none": 1, "joined": 1, "stopped": 9})]


@pytest.mark.parametrize(("wired", "others"), COUNTS)
def test_the_picture_is_well_formed_and_complete(wired: int, others: dict[str, int]) -> None:
    system = read(document(wired, others))
    root = ElementTree.fromstring(Topology(system).svg)
    shown = "".join(root.itertext())
    assert "dosirak0" in shown and "172.19.0.1" in shown and "box" in shown
    for number in range(wired):
        for word in (f"web{number}", f"veth{number}", f"172.19.0.{number + 2}", f"pid {100 + number}"):
            assert word in shown
    for kind, count in others.items():
        assert all(f"{kind}{number}" in shown for number in range(count))
    assert system.running == wired + sum(count for kind, count in others.items() if kind != "stopped")


@pytest.mark.parametrize(("wired", "others"), COUNTS)
def test_no_box_overlaps_another_and_all_are_inside(wired: int, others: dict[str, int]) -> None:
    plan = place(read(document(wired, others)))
    boxes = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in plan.boxes]
    x, y, width, height = plan.host
    for left, top, right, bottom in boxes:
        assert x < left and right < x + width and y < top and bottom < y + height
    for index, a in enumerate(boxes):
        for b in boxes[index + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("wired", [1, 4, 10, 23])
def test_no_wire_runs_on_another_or_through_a_box(wired: int) -> None:
    plan = place(read(document(wired)))
    lanes = [wire.x for wire in plan.wires] + [inlet.x for inlet in plan.inlets]
    assert len(set(lanes)) == len(lanes)
    for lane in lanes:
        assert not any(box.x <= lane <= box.x + box.width for box in plan.boxes)


def test_hostile_names_stay_text() -> None:
    hostile = "<script>alert(1)</script>&\"'"
    picture = Topology(read(document(2, {"stopped": 1}, hostile)))
    root = ElementTree.fromstring(picture.svg)
    assert not root.findall(".//{http://www.w3.org/2000/svg}script")
    html = picture._repr_html_()
    assert "<script" not in html
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert source and base64.b64decode(source.group(1)).decode() == picture.svg
    assert html.count("<") == 1  # an img and nothing else: no script, no style, nothing an untrusted page strips
    assert html.startswith("<img ")


def test_names_cut_the_picture() -> None:
    system = read(document(3, {"stopped": 1}), ["web1"])
    assert [member.name for member in system.bridges[0].members] == ["web1"]
    assert system.stopped == ()
    with pytest.raises(DosirakError, match=r"No such container: wbe1; did you mean web1\?"):
        read(document(3), ["wbe1"])


def test_the_text_form_is_a_tree() -> None:
    text = repr(Topology(read(document(2, {"host": 1, "stopped": 1}))))
    assert text.splitlines() == [
        "host box  (kernel 6.18)",
        "├─ dosirak0  bridge of network bridge  172.19.0.1  172.19.0.0/16",
        "│  ├─ veth0 ⇄ eth0  web0 [nginx]  172.19.0.2  02:42:ac:13:00:02  Up 2 seconds",
        "│  └─ veth1 ⇄ eth0  web1 [nginx]  172.19.0.3  02:42:ac:13:00:03  0.0.0.0:8010->80/tcp  Up 2 seconds",
        "├─ the host's own network",
        "│  └─ host0 [x]  Up",
        "├─ not running",
        "│  └─ stopped0 [x]  Exited (1) 2 hours ago",
    ]


def test_a_container_on_several_networks_hangs_on_each() -> None:
    drawn = document(2)
    back = drawn["networks"][0] | {"id": "b", "name": "back", "bridge": "br-b", "subnet": "10.0.0.0/24"}
    own = drawn["containers"][1]["id"]
    back["endpoints"] = [{"container": own, "name": "web1", "veth": "vethb", "interface": "eth1", "ip": "10.0.0.2"}]
    drawn["networks"].append(back)
    drawn["containers"][1]["networks"] = ["back", "bridge"]
    system = read(drawn)
    assert system.running == 2
    assert [[member.name for member in bridge.members] for bridge in system.bridges] == [["web0", "web1"], ["web1"]]
    picture = Topology(system)
    assert "vethb ⇄ eth1  web1" in repr(picture) and "veth1 ⇄ eth0  web1" in repr(picture)
    shown = "".join(ElementTree.fromstring(picture.svg).itertext())
    assert "eth1  10.0.0.2" in shown and "also on back" in shown and "also on bridge" in shown
