"""The tutorial of networks, run for real: what its cells put out is what its text says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import runner

from support.patience import patient
from support.tutorials import Executed, executed

pytestmark = [pytest.mark.xdist_group("tutorial"), pytest.mark.timeout(patient(300))]


@pytest.fixture(scope="module")
def tutorial() -> Iterator[Executed]:
    with executed("04-networks", ["busybox"]) as found:
        yield found


def test_a_cable_has_two_ends(tutorial: Executed) -> None:
    said = tutorial.text("ip -4 addr show eth0")
    assert re.search(r"eth0@if\d+: ", said) and "default via" in said
    number = re.search(r"cables plugged in: (\d+)", tutorial.text("cables plugged in"))
    assert number and int(number[1]) >= 1


def test_a_link_gives_the_default_bridge_a_name(tutorial: Executed) -> None:
    assert "1 packets received" in tutorial.text("--link one")


def test_names_are_known_on_a_bridge_of_ones_own(tutorial: Executed) -> None:
    said = tutorial.text("wget -q -O - http://web/")
    assert said.startswith("lunch\n") and "nameserver 127.0.0.11" in said
    assert len(re.findall(r"^Address: 172|^Address: 192", tutorial.text("nslookup team"), re.MULTILINE)) == 2


def test_a_running_container_is_connected_and_disconnected(tutorial: Executed) -> None:
    said = tutorial.text("network connect mybridge one")
    assert said.count("eth1") and said.rindex("eth1") < said.rindex("eth0")


def test_a_network_in_use_stays(tutorial: Executed) -> None:
    (failed,) = (cell for cell in tutorial.notebook.cells if "raises-exception" in cell.metadata.get("tags", ()))
    assert "network mybridge has active endpoints" in runner.text_of(failed)


def test_host_none_and_another_container_s(tutorial: Executed) -> None:
    assert tutorial.text("--net host") == "the same network: True"
    (line,) = tutorial.text("--net none").splitlines()
    assert " lo: " in line
    assert tutorial.text("--net container:web") == "lunch"


def test_the_picture_changes_as_containers_come_and_go(tutorial: Executed) -> None:
    pictures = [cell for cell in tutorial.notebook.cells if cell.source.endswith("%topology")]
    before, after = ("".join(map(str, cell.outputs)) for cell in pictures)
    assert "alias2" in before and "mybridge" in before
    assert "veth" in before and "veth" not in after
