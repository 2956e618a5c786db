"""The tutorial of WordPress and its database, run for real: what its cells put out is what its text says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import runner

from support.patience import patient
from support.tutorials import Executed, executed

pytestmark = [pytest.mark.xdist_group("wordpress"), pytest.mark.timeout(patient(900))]


@pytest.fixture(scope="module")
def tutorial() -> Iterator[Executed]:
    with executed("02-wordpress", ["mysql:5.7", "wordpress"]) as found:
        yield found


def test_the_two_commands_bring_up_the_pair(tutorial: Executed) -> None:
    shown = tutorial.text("%docker ps")
    assert re.search(r"wordpress +\"docker-entrypoint.*0\.0\.0\.0:\d+->80/tcp +wordpress$", shown, re.MULTILINE)
    assert re.search(r"mysql:5\.7 .*3306/tcp.* wordpressdb$", shown, re.MULTILINE)


def test_a_link_is_a_line_and_variables(tutorial: Executed) -> None:
    line, *variables = tutorial.text("env | grep ^MYSQL_").splitlines()
    address, alias = line.split()[:2]
    assert alias == "mysql" and "MYSQL_ENV_MYSQL_DATABASE=wordpress" in variables
    assert f"MYSQL_PORT_3306_TCP_ADDR={address}" in variables


def test_a_post_is_in_the_database(tutorial: Executed) -> None:
    assert tutorial.text("def address") == "already set up: False\nset up now:     True"
    assert "'Today: bibimbap'" in tutorial.text("Today: bibimbap")
    assert "Today: bibimbap" in tutorial.text("select post_title")


def test_without_a_volume_it_goes_with_the_container(tutorial: Executed) -> None:
    asked = [cell for cell in tutorial.notebook.cells if cell.source.startswith('print("already set up:"')]
    assert [runner.text_of(cell).splitlines()[0] for cell in asked] == ["already set up: False", "already set up: True"]


def test_a_name_is_given_once(tutorial: Executed) -> None:
    said = tutorial.text("--name wordpressdb_hostvolume --link")
    assert 'Conflict. The container name "/wordpressdb_hostvolume" is already in use by container' in said
    assert "Traceback" not in said


def test_with_a_directory_of_the_host_it_stays(tutorial: Executed) -> None:
    assert "aria_log" in tutorial.text("os.listdir")
    said = tutorial.text('print("posts:"')
    assert said.startswith("already set up: True\n") and "'This one stays'" in said
