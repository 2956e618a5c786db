"""The life of a container through Docker's own clients: health, restarts, init, names, exit codes."""

from __future__ import annotations

import io
import json
import time

from support.engines import wait_for


def test_health_through_the_cli(docker, busybox):
    docker(
        "run", "-d", "--name", "well", "--health-cmd", "test ! -e /sick", "--health-interval", "100ms",
        "--health-retries", "1", busybox, "sleep", "100",
    )  # fmt: skip

    def shown():
        return docker("ps", "--format", "{{.Status}}", "--filter", "name=well").stdout.strip()

    wait_for(lambda: shown().endswith("(healthy)"), 20)
    docker("exec", "well", "touch", "/sick")
    wait_for(lambda: shown().endswith("(unhealthy)"), 20)
    assert docker("ps", "-q", "--filter", "health=unhealthy").stdout.strip()
    state = json.loads(docker("inspect", "-f", "{{json .State.Health}}", "well").stdout)
    assert state["Status"] == "unhealthy" and state["FailingStreak"] >= 1
    last = state["Log"][-1]
    assert set(last) == {"Start", "End", "ExitCode", "Output"} and last["ExitCode"] == 1
    until = str(int(time.time()) + 1)  # the CLI cuts a relative time to whole seconds
    told = docker(
        "events", "--since", "5m", "--until", until, "--filter", "event=health_status", "--format", "{{.Action}}"
    )
    assert told.stdout.splitlines()[-2:] == ["health_status: healthy", "health_status: unhealthy"]


def test_an_image_s_health_check_is_built_and_used(client, busybox, docker):
    text = f"FROM {busybox}\nHEALTHCHECK --interval=100ms --timeout=5s CMD true\nSTOPSIGNAL SIGINT\nCMD sleep 100\n"
    client.images.build(fileobj=io.BytesIO(text.encode()), tag="checked")
    container = client.containers.run("checked", detach=True)

    def status():
        container.reload()
        return container.attrs["State"]["Health"]["Status"]

    wait_for(lambda: status() == "healthy", 20)
    assert container.attrs["Config"]["StopSignal"] == "SIGINT"
    off = client.containers.run("checked", detach=True, healthcheck={"test": ["NONE"]})
    assert "Health" not in off.attrs["State"]
    assert docker("run", "--rm", "--no-healthcheck", "checked", "true").returncode == 0
    container.remove(force=True)
    off.remove(force=True)
    client.images.remove("checked")


def test_restart_policy_by_docker_py(client, busybox):
    container = client.containers.run(
        busybox, ["sh", "-c", "exit 3"], detach=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}
    )

    def ended():
        container.reload()
        return container.status == "exited"

    wait_for(ended, 20)
    assert container.attrs["RestartCount"] == 2 and container.attrs["State"]["ExitCode"] == 3


def test_init_is_told_and_used(docker, busybox):
    assert docker("info", "--format", "{{.InitBinary}}").stdout.strip() == "docker-init"
    assert docker("run", "--rm", "--init", busybox, "sh", "-c", "cat /proc/1/comm; exit 9", check=False).stdout == (
        "docker-init\n"
    )
    missing = docker("run", "--rm", "--init", busybox, "nosuch", check=False)
    assert missing.returncode == 127 and '"nosuch": executable file not found in $PATH' in missing.stderr


def test_wait_takes_several_and_rename_keeps_a_running_one(docker, busybox):
    docker("run", "-d", "--name", "one", busybox, "sh", "-c", "exit 4")
    docker("run", "-d", "--name", "two", "-p", "80", busybox, "sh", "-c", "sleep 0.2; exit 5")
    assert docker("wait", "one", "two").stdout == "4\n5\n"
    docker("run", "-d", "--name", "three", "-p", "127.0.0.1::80/tcp", busybox, "sleep", "100")
    docker("rename", "three", "four")
    assert docker("port", "four", "80").stdout.startswith("127.0.0.1:")
    assert docker("ps", "--format", "{{.Names}}").stdout == "four\n"
    for name, words in (
        ("one", 'The container name "/one" is already in use by container'),
        ("a b", "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("four", "Renaming a container with the same name as its current name"),
    ):
        refused = docker("rename", "four", name, check=False)
        assert refused.returncode == 1 and words in refused.stderr


def test_cidfile_env_file_and_label_file(docker, busybox, tmp_path):
    (tmp_path / "env").write_text("A=1\n# no\nSPACED=a b\n")
    (tmp_path / "labels").write_text("x=y\n")
    out = docker(
        "run", "--cidfile", tmp_path / "cid", "--env-file", tmp_path / "env", "--label-file", tmp_path / "labels",
        busybox, "env",
    ).stdout  # fmt: skip
    assert "A=1" in out.splitlines() and "SPACED=a b" in out.splitlines()
    identity = (tmp_path / "cid").read_text()
    assert docker("inspect", "-f", '{{index .Config.Labels "x"}}', identity).stdout == "y\n"
    again = docker("run", "--cidfile", tmp_path / "cid", busybox, "true", check=False)
    assert again.returncode == 125 and "container ID file found" in again.stderr
