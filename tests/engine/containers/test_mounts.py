"""-v, --mount, --tmpfs: what Docker takes and what it refuses, in its words."""

from __future__ import annotations

import pytest

from dosirak.engine.containers import mounts
from dosirak.engine.containers.documents import (
    BindOptions,
    DriverConfig,
    ImageOptions,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from dosirak.engine.containers.mounts import MountPlan
from dosirak.engine.errors import EngineError, InvalidRequest, NotFound


def plan(**parts):
    base = {"image_volumes": (), "inherited": (), "binds": (), "mounts": (), "tmpfs": {}}
    return mounts.plan(**{**base, **parts})


def test_a_bind():
    found = mounts.parse_bind("/host//dir/:/in/:ro,rslave")
    assert (found.type, found.source, found.destination) == ("bind", "/host/dir", "/in")
    assert (found.rw, found.propagation, found.mode, found.create) == (False, "rslave", "ro,rslave", True)


def test_a_named_volume():
    found = mounts.parse_bind("data:/in")
    assert (found.type, found.name, found.driver, found.mode, found.copy) == ("volume", "data", "local", "z", True)
    assert found.anonymous is False
    assert mounts.parse_bind("data:/in:nocopy").copy is False


def test_a_bare_path_is_an_anonymous_volume():
    found = mounts.parse_bind("/in")
    assert found.type == "volume" and found.anonymous and found.copy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid volume specification: ''"),
        (":/a", "invalid volume specification: ':/a'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:ro:x", "invalid volume specification"),
        ("/a:/b:wo", "invalid mode: wo"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:b", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/x/..", "destination can't be '/'"),
        ("data:/b:rslave", "field BindOptions must not be specified"),
    ],
)
def test_bad_binds(text, words):
    with pytest.raises(InvalidRequest) as error:
        mounts.parse_bind(text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount(type="bind", source="/a"), 'invalid mount config for type "bind": field Target must not be empty'),
        (Mount(type="bind", target="/a"), "field Source must not be empty"),
        (Mount(type="bind", source="a", target="/b"), "invalid mount path: 'a' mount path must be absolute"),
        (Mount(type="bind", source="/a", target="/"), "destination can't be '/'"),
        (
            Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(propagation="odd")),
            "invalid propagation mode: odd",
        ),
        (
            Mount(type="bind", source="/a", target="/b", tmpfs_options=TmpfsOptions()),
            "field TmpfsOptions must not be specified",
        ),
        (Mount(type="tmpfs", source="x", target="/b"), "field Source must not be specified"),
        (
            Mount(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=[["dev"]])),
            "invalid option: dev",
        ),
        (Mount(type="odd", target="/b"), 'invalid mount config for type "odd": mount type unknown'),
    ],
)
def test_bad_mounts(mount, words):
    with pytest.raises(InvalidRequest) as error:
        mounts.parse_mount(mount)
    assert words in str(error.value)


def test_an_image_is_read_only():
    options = ImageOptions(subpath="bin")
    found = mounts.parse_mount(Mount(type="image", source="busybox", target="/b", image_options=options))
    assert (found.type, found.name, found.rw, found.subpath) == ("image", "busybox", False, "bin")


def test_mounts_are_as_asked():
    bind = mounts.parse_mount(
        Mount(type="bind", source="/a", target="/b", read_only=True, bind_options=BindOptions(non_recursive=True))
    )
    assert (bind.rw, bind.recursive, bind.create) == (False, False, False)
    volume = mounts.parse_mount(Mount(type="volume", target="/b", volume_options=VolumeOptions(no_copy=True)))
    assert volume.anonymous and not volume.copy
    tmpfs = mounts.parse_mount(
        Mount(type="tmpfs", target="/b", read_only=True, tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o700))
    )
    assert tmpfs.options == ["noexec", "nosuid", "nodev", "ro", "mode=700", "size=4096"]


def test_what_shows_the_engine_s_own_directory_lets_its_unmounts_through():
    def propagation(source, mode="", root="/var/lib/engine"):
        return plan(binds=[f"{source}:/in{mode}"], root=root)[0].propagation

    assert [propagation(source) for source in ("/", "/var/lib", "/var/lib/engine/", "/var/lib/engine/x")] == [
        "rslave"
    ] * 4
    assert [propagation(source) for source in ("/srv", "/var/lib/engines", "/var/lib/e")] == ["rprivate"] * 3
    assert propagation("/var/lib/engine", ":rshared") == "rshared"
    assert propagation("/srv", ":slave") == "slave"
    asked = Mount(
        type="bind", source="/var/lib/engine/x", target="/in", bind_options=BindOptions(propagation="private")
    )
    for bad in ({"binds": ["/:/in:slave"]}, {"mounts": [asked]}):
        with pytest.raises(InvalidRequest, match='must use either propagation mode "rslave" or "rshared"'):
            plan(root="/var/lib/engine", **bad)


def test_before_1_44_read_only_did_not_mean_the_mounts_below():
    asked = Mount(type="bind", source="/s", target="/t", read_only=True)
    for flat in (True, False):
        found = plan(binds=["/a:/a:ro", "/b:/b"], mounts=[asked], flat_readonly=flat)
        assert [entry.flat_readonly for entry in found] == [flat, False, flat]


def test_a_volume_driver_that_is_not_there():
    driver = VolumeOptions(driver_config=DriverConfig(name="nfs"))
    for asked in (
        {"mounts": [Mount(type="volume", target="/in", volume_options=driver)]},
        {"binds": ["x:/in"], "volume_driver": "nfs"},
    ):
        with pytest.raises(NotFound, match='plugin "nfs" not found'):
            plan(**asked)


def test_later_sources_of_a_mount_win_and_the_order_is_by_depth():
    inherited = MountPlan(type="volume", name="theirs", source="/v", destination="/data")
    found = plan(
        image_volumes=["/data", "/cache/", "/own"],
        inherited=[inherited],
        binds=["/host:/own", "/deep:/own/a/b"],
        tmpfs={"/cache": ""},
    )
    assert [(entry.destination, entry.type, entry.name) for entry in found] == [
        ("/data", "volume", "theirs"),
        ("/own", "bind", ""),
        ("/own/a/b", "bind", ""),
    ]


@pytest.mark.parametrize(
    "parts",
    [
        {"binds": ["/a:/x", "/b:/x/"]},
        {"binds": ["/a:/x"], "mounts": [Mount(type="tmpfs", target="/x")]},
        {"binds": ["/a:/x"], "tmpfs": {"/x": ""}},
    ],
)
def test_two_mounts_at_one_place_are_refused(parts):
    with pytest.raises(InvalidRequest, match="Duplicate mount point: /x"):
        plan(**parts)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], ["noexec", "nosuid", "nodev"]),
        (["exec", "suid"], ["nodev", "exec", "suid"]),
        (["rw", "ro"], ["noexec", "nosuid", "nodev", "ro"]),
        (["size=1m", "size=2m", "uid=7"], ["noexec", "nosuid", "nodev", "size=2m", "uid=7"]),
    ],
)
def test_tmpfs_options(words, options):
    assert mounts.tmpfs_options(words) == options


@pytest.mark.parametrize("word", ["bogus", "bogus=1", "size", "lowerdir=/etc"])
def test_bad_tmpfs_options(word):
    with pytest.raises(InvalidRequest) as error:
        mounts.tmpfs_options([word])
    assert str(error.value) == f'invalid tmpfs option ["{word}"]'


@pytest.mark.parametrize(("text", "parsed"), [("c", ("c", True)), ("c:ro", ("c", False)), ("c:rw", ("c", True))])
def test_volumes_from(text, parsed):
    assert mounts.parse_volumes_from(text) == parsed


@pytest.mark.parametrize("text", ["", ":ro", "c:shared", "c:nocopy", "c:odd"])
def test_bad_volumes_from(text):
    with pytest.raises(EngineError):
        mounts.parse_volumes_from(text)
