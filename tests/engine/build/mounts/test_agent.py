"""RUN --mount=type=ssh: the caller's agent signs, and does nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.build.inputs import Inputs

from ..conftest import Rig

ASK = r"printf '\000\000\000\001\013' | nc local:$SSH_AUTH_SOCK"


class Agent:
    """Answers every message with "heard" and remembers the messages' types."""

    def __init__(self, path: Path) -> None:
        self.path, self.asked = path, []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                while head := reader.read(4):
                    self.asked.append(reader.read(int.from_bytes(head, "big"))[0])
                    connection.sendall(b"\0\0\0\6\x0cheard")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "agent")
    yield made
    made.close()


def script(types: str) -> str:
    """A Python-less step that asks an agent: the host's python3 is mounted into it."""
    code = (
        "import os,socket;s=socket.socket(socket.AF_UNIX);s.connect(os.environ['SSH_AUTH_SOCK']);"
        f"[(s.sendall(bytes([0,0,0,1,t])),print(s.recv(99)[4])) for t in {types}]"
    )
    return f'RUN --mount=type=ssh,required python3 -c "{code}"\n'


async def test_step_asks_the_callers_agent_for_keys_and_signatures_only(rig: Rig, agent: Agent) -> None:
    built = await rig.build(
        "FROM dosirak/host\n" + script("(11,13,17,19,22,27)"), inputs=Inputs(agents={"default": str(agent.path)})
    )
    assert built.output.split() == ["12", "12", "5", "5", "5", "5"]
    assert agent.asked == [11, 13]
    assert not [path for path in await rig.files(built) if "agent" in path]


async def test_socket_has_its_default_place_mode_and_variable(rig: Rig, agent: Agent) -> None:
    text = "FROM busybox\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK; stat -c '%a %u %F' $SSH_AUTH_SOCK\n"
    built = await rig.build(text, inputs=Inputs(agents={"default": str(agent.path)}))
    assert built.output.splitlines() == ["/run/buildkit/ssh_agent.0", "600 0 socket"]
    text = "FROM busybox\nRUN --mount=type=ssh,id=a,target=/s,mode=666,uid=3 stat -c '%a %u' /s; echo $SSH_AUTH_SOCK\n"
    built = await rig.build(text, inputs=Inputs(agents={"a": str(agent.path)}))
    assert built.output.splitlines() == ["666 3", "/s"]


async def test_step_that_asks_by_many_connections_takes_no_more_than_its_share(rig: Rig, agent: Agent) -> None:
    code = (
        "import os,socket\nopen=[]\nfor n in range(200):\n s=socket.socket(socket.AF_UNIX)\n"
        " s.connect(os.environ['SSH_AUTH_SOCK'])\n open.append(s)\n"
        "ended=0\nfor s in open[64:]:\n s.settimeout(30)\n ended+=s.recv(1)==b''\nprint(ended)\n"
    )
    text = f"FROM dosirak/host\nRUN --mount=type=ssh python3 <<END\n{code}END\n".replace("$", "\\$")
    assert (await rig.build(text, inputs=Inputs(agents={"default": str(agent.path)}))).output == "136\n"


async def test_agent_that_is_not_given_is_left_out_unless_required(rig: Rig, tmp_path: Path) -> None:
    assert (await rig.build("FROM busybox\nRUN --mount=type=ssh echo x$SSH_AUTH_SOCK\n")).output == "x\n"
    error = await rig.error("FROM busybox\nRUN --mount=type=ssh,required true\n")
    assert error.message == "unset ssh forward key default"
    (tmp_path / "file").touch()
    inputs = Inputs(agents={"default": str(tmp_path / "file")})
    assert (
        "not an agent's socket" in (await rig.error("FROM busybox\nRUN --mount=type=ssh true\n", inputs=inputs)).message
    )
