"""docker diff: what a real dockerd (20.10, overlay2) printed for the same scripts, and what it can't show."""

from __future__ import annotations

import os

import pytest

from dosirak.engine.containers.files import Change, Kind
from support.tars import member

_IMAGE = (
    "mkdir -p /a/b /o/p && echo x > /a/f && echo y > /a/b/g && echo z > /o/p/q && mkdir /other && echo 1 > /touched"
)
# Script in a container of that image, and what `docker diff` said.
RECORDED = {
    "true": "",
    "rm /a/f; echo 2 > /a/b/g; rm -rf /o; mkdir -p /o/new; mv /a /moved; touch -d 2001-02-03 /touched;"
    " echo h > /etc/newfile; chmod 700 /other; mkdir /x; ln -s y /x/l; echo >> /etc/hosts": (
        "C /o|A /o/new|D /o/p|C /etc|A /etc/newfile|C /touched|C /other"
        "|A /moved|A /moved/b|A /moved/b/g|A /x|A /x/l|D /a"
    ),
    "rm -rf /a/b; echo file > /a/b; rm /a/f; mkdir /a/f; touch /a/f/in": "C /a|C /a/f|A /a/f/in|C /a/b",
}


@pytest.fixture
async def image(rig):
    """busybox with a few files on top."""
    from dosirak.engine.containers.files import CommitRequest

    ref = (await rig.run("sh", "-c", _IMAGE)).id
    await rig.containers.files.commit(ref, CommitRequest(name="with-files"))
    return "with-files"


def shown(changes: list[Change]) -> list[str]:
    return [f"{'CAD'[change.kind]} {change.path}" for change in changes]


@pytest.mark.parametrize("script", RECORDED)
async def test_diff_says_what_docker_says(rig, image, script):
    ran = await rig.run("sh", "-c", script, image=image)
    assert ran.code == 0, ran.err
    expected = [line for line in RECORDED[script].split("|") if line]
    assert sorted(shown(await rig.containers.files.changes(ran.id))) == sorted(expected)


async def test_places_of_volumes_are_added_and_what_every_container_mounts_is_not(rig, tmp_path):
    host = {"binds": ["named:/vol", f"{tmp_path}:/bind/deep"], "tmpfs": {"/fast": ""}, "network_mode": "none"}
    ref = await rig.start("sleep", "100", host=host)
    await rig.exec(ref, "sh", "-c", "touch /vol/x /bind/deep/x /fast/x /dev/shm/x; echo >> /etc/hosts")
    changes = await rig.containers.files.changes(ref)
    assert shown(changes) == ["A /bind", "A /bind/deep", "A /fast", "A /vol"]
    assert "fast" in os.listdir(rig.containers.paths(ref).upper)


async def test_parents_come_before_what_is_in_them_in_every_state(copy):
    for ref in (await copy.states("mkdir -p /n/m/o && touch /n/m/o/p /n/q")).values():
        assert shown(await copy.files.changes(ref)) == ["A /n", "A /n/m", "A /n/m/o", "A /n/m/o/p", "A /n/q"]


async def test_a_copied_file_that_is_as_it_was_is_no_change(copy, rig, image):
    ref = await rig.create("true", image=image)
    _, before = await copy.out(ref, "/a/f")
    entry = before["f"]
    headers = {"mtime": entry.mtime, "mode": entry.mode, "uid": entry.uid, "gid": entry.gid}
    await copy.put(ref, "/a", member("f", "file", entry.content, **headers))
    assert await rig.containers.files.changes(ref) == []
    await copy.put(ref, "/a", member("f", "file", entry.content, **headers | {"gid": 9}))
    assert await rig.containers.files.changes(ref) == [Change("/a", Kind.CHANGED), Change("/a/f", Kind.CHANGED)]


async def test_a_deep_tree_and_names_of_any_bytes_are_told(rig):
    deep = "cd /; i=0; while [ $i -lt 250 ]; do mkdir ddddddddddddd; cd ddddddddddddd; i=$((i+1)); done"
    ran = await rig.run("sh", "-c", f"{deep}; touch /$(printf 'a\\377b')")
    changes = await rig.containers.files.changes(ran.id)
    assert len(changes) == 251
    assert max(len(change.path) for change in changes) == 250 * 14
    assert "/a\ufffdb" in {change.path for change in changes}


async def test_sizes_count_each_file_once_and_no_directories(rig):
    script = "printf 12345 > /f; ln /f /g; ln -s 1234567 /l; mkdir -p /d/e; printf 123 > /d/e/h; rm /bin/vi"
    ran = await rig.run("sh", "-c", script)
    found = await rig.containers.files.size(ran.id)
    image = (await rig.images.resolve("busybox")).size
    assert (found.own, found.whole) == (5 + 7 + 3, 5 + 7 + 3 + image)
