"""Whole builds on the real kernel: what is in the image, and what it says of itself."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from dosirak.engine.build import model

from .conftest import Rig, write

HEX = re.compile(r"[0-9a-f]{12}\b")


async def test_run_changes_the_image_and_its_output_is_told(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nRUN echo hello > /x && echo out && echo err >&2\n")
    assert (await rig.files(built))["/x"] == "hello\n"
    # two pipes: which of them is read first is not said
    said = {(event.stream, event.data) for event in built.events if isinstance(event, model.StepOutput)}
    assert said == {(1, b"out\n"), (2, b"err\n")}


async def test_classic_client_reads_what_docker_writes(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nENV A=1\nRUN echo hi\n", tags=("t", "u:2"))
    assert HEX.sub("ID", built.text) == (
        "Step 1/3 : FROM busybox\n ---> ID\n"
        "Step 2/3 : ENV A=1\n ---> ID\n"
        "Step 3/3 : RUN echo hi\n ---> Running in ID\nhi\n ---> Removed intermediate container ID\n ---> ID\n"
        "Successfully built ID\nSuccessfully tagged t:latest\nSuccessfully tagged u:2\n"
    )
    assert (await rig.rooms.images.resolve("t")).id == (await rig.rooms.images.resolve("u:2")).id == built.image.id


async def test_exec_form_runs_without_a_shell_and_user_and_directory_hold(rig: Rig) -> None:
    built = await rig.build(
        'FROM busybox\nWORKDIR /home/user/w\nUSER user\nRUN ["/bin/id"]\nRUN pwd; touch mine || echo no\n'
    )
    assert "uid=1000(user)" in built.output and "/home/user/w\n" in built.output and "no\n" in built.output


async def test_settings_and_history_are_in_the_image(rig: Rig) -> None:
    built = await rig.build(
        'FROM busybox\nLABEL purpose="practice"\nENV A=1\nEXPOSE 80\nVOLUME /v\nRUN echo > /f\nRUN true\n'
        'WORKDIR /w\nUSER user\nENTRYPOINT ["/e"]\nCMD ["c"]\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK --interval=3s CMD true\n',
        labels={"by": "test"},
    )
    document = built.image.config
    config = document.config
    assert config.labels == {"purpose": "practice", "by": "test"}
    assert config.env == ["PATH=/bin", "A=1"]
    assert (config.exposed_ports, config.volumes) == ({"80/tcp": {}}, {"/v": {}})
    assert (config.entrypoint, config.cmd, config.working_dir, config.user) == (["/e"], ["c"], "/w", "user")
    assert (config.stop_signal, config.healthcheck.interval) == ("SIGQUIT", 3_000_000_000)
    made = [(entry.created_by, entry.empty_layer) for entry in document.history][-12:]
    assert made[0] == ("LABEL purpose=practice", True)
    assert ("RUN /bin/sh -c echo > /f", False) in made and ("RUN /bin/sh -c true", True) in made
    assert ("WORKDIR /w", False) in made and ('CMD ["c"]', True) in made
    assert sum(not entry.empty_layer for entry in document.history) == len(document.rootfs.diff_ids) == built.layers
    times = [entry.created for entry in document.history if entry.created]
    assert times == sorted(times) and document.created >= times[-1]


async def test_step_that_changes_nothing_makes_no_layer(rig: Rig) -> None:
    base = await rig.build("FROM busybox\n")
    built = await rig.build("FROM busybox\nRUN true\nRUN cat /etc/hosts /etc/resolv.conf\nWORKDIR /etc\n")
    assert built.layers == base.layers
    assert await rig.tree(built) == set()


async def test_mount_points_of_a_bare_root_are_not_in_the_image(rig: Rig) -> None:
    built = await rig.build("FROM scratch\nCOPY --from=busybox /bin /bin\nRUN echo > /made; ls /proc/self /dev /etc\n")
    files = await rig.files(built)
    assert {path.split("/")[1] for path in files} == {"bin", "made"}


async def test_stages_are_built_at_the_same_time(rig: Rig) -> None:
    stages = "".join(f"FROM busybox AS s{n}\nRUN sleep 2; echo {n} > /n\n" for n in range(4))
    copies = "".join(f"COPY --from=s{n} /n /{n}\n" for n in range(4))
    began = time.monotonic()
    built = await rig.build(f"{stages}FROM scratch\n{copies}")
    assert time.monotonic() - began < 7  # one after another: 8
    assert await rig.files(built) == {f"/{n}": f"{n}\n" for n in range(4)}


async def test_unneeded_stage_is_not_built_and_target_ends_the_build(rig: Rig) -> None:
    text = "FROM busybox AS a\nRUN echo a > /a\nFROM nosuch AS b\nRUN false\nFROM a AS c\nRUN echo c > /c\n"
    assert set(await rig.tree(await rig.build(text))) == {"/a", "/c"}
    assert set(await rig.tree(await rig.build(text, target="a"))) == {"/a"}


async def test_copy_from_stage_keeps_owners_from_context_makes_roots(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"f": "f"})
    os.chown(context / "f", 1000, 1000)
    built = await rig.build(
        "FROM busybox AS a\nRUN echo x > /x; chown 5:6 /x; chmod 4711 /x\n"
        "FROM busybox\nCOPY --from=a /x /x\nCOPY f /f\nCOPY --chown=user:audio f /g\n"
        "RUN stat -c '%n %u:%g %a' /x /f /g\n",
        context,
    )
    assert built.output == "/x 5:6 4711\n/f 0:0 644\n/g 1000:29 644\n"


async def test_arguments_reach_run_and_leave_only_what_docker_leaves(rig: Rig) -> None:
    text = "ARG B=busybox\nFROM $B\nARG V=default\nARG U\nRUN echo $V-$U-$http_proxy\n"
    built = await rig.build(text, args={"V": "given", "http_proxy": "http://secret"})
    assert built.output == "given--http://secret\n"
    assert "V=given" not in (built.image.config.config.env or [])
    history = [entry.created_by for entry in built.image.config.history]
    assert "RUN |2 V=given U= /bin/sh -c echo $V-$U-$http_proxy" in history
    assert "secret" not in str(built.image.config)


async def test_documents_run_and_are_copied(rig: Rig) -> None:
    built = await rig.build(
        "FROM busybox\nENV V=value\nRUN <<EOF\necho one\necho two\nEOF\n"
        "RUN <<S\n#!/bin/cat\nscript\nS\n"
        "COPY <<a.txt <<'b.txt' /d/\n$V\na.txt\n$V\nb.txt\n"
        "RUN cat /d/a.txt <<X - /d/b.txt\nbetween\nX\n"
    )
    assert built.output == "one\ntwo\n#!/bin/cat\nscript\nvalue\nbetween\n$V\n"
    assert {path: content for path, content in (await rig.files(built)).items() if path.startswith("/d/")} == {
        "/d/": "",
        "/d/a.txt": "value\n",
        "/d/b.txt": "$V\n",
    }


async def test_triggers_of_a_base_run_in_the_build_on_it(rig: Rig, tmp_path: Path) -> None:
    await rig.build("FROM busybox\nONBUILD COPY f /from-context\nONBUILD RUN echo trigger\n", tags=("base",))
    built = await rig.build("FROM base\nRUN cat /from-context\n", write(tmp_path / "c", {"f": "hi\n"}))
    assert built.output == "trigger\nhi\n"
    assert built.image.config.config.on_build is None


async def test_mounts_of_run(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"f": "context\n", "skip": "", ".dockerignore": "skip\n"})
    built = await rig.build(
        "FROM busybox AS a\nRUN mkdir /d; echo stage > /d/s\nFROM busybox\n"
        "RUN --mount=type=cache,target=/c echo 1 >> /c/n; cat /c/n\n"
        "RUN --mount=type=cache,target=/c,sharing=locked echo 2 >> /c/n; cat /c/n\n"
        "RUN --mount=target=/src cat /src/f; ls /src; echo > /src/new || echo read-only\n"
        "RUN --mount=from=a,source=/d,target=/m,rw cat /m/s; echo > /m/lost\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m echo > /t/gone; df -k /t | tail -1 | awk '{print $2}'\n",
        context,
    )
    assert built.output.replace("/bin/sh: can't create /src/new: Read-only file system\n", "") == (
        "1\n1\n2\ncontext\nf\nread-only\nstage\n1024\n"
    )
    assert await rig.tree(built) == set()
    assert not (context / "new").exists()


async def test_tutorials_dockerfile_builds_on_the_image_made_of_this_machine(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"test.html": "<h1>hi</h1>\n"})
    built = await rig.build(
        'FROM dosirak/host\nMAINTAINER Somebody\nLABEL "purpose"="practice"\nADD test.html /var/www/html/\n'
        'WORKDIR /var/www/html\nRUN ["/bin/bash", "-c", "echo hello >> test2.html"]\n'
        "RUN python3 -c \"print(open('test2.html').read(), end='')\"; ls -l /var/www\n"
        "EXPOSE 80\nCMD apachectl -DFORGEGROUND\n",
        context,
    )
    assert built.output.startswith("hello\n")
    assert built.image.config.config.labels["purpose"] == "practice"
    assert built.image.config.config.cmd == ["/bin/sh", "-c", "apachectl -DFORGEGROUND"]
    assert built.image.config.author == "Somebody"
