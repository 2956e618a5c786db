"""index.json: names and the manifests they stand for."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.content import Descriptor, Index, Store, media_types
from dosirak.engine.content.digests import digest_of
from dosirak.engine.errors import HostLimit


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(Store(tmp_path).root)


def manifest(label: str) -> Descriptor:
    return Descriptor(media_types.MANIFEST, digest_of(label.encode()), len(label))


def test_a_name_leads_to_its_manifest_also_for_the_next_service(index: Index, tmp_path: Path) -> None:
    index.set("a:1", manifest("one"))
    index.set("b:1", manifest("one"))
    index.set("c:1", manifest("two"))
    for seen in (index, Index(tmp_path)):
        assert {name: found.digest for name, found in seen.names().items()} == {
            "a:1": manifest("one").digest,
            "b:1": manifest("one").digest,
            "c:1": manifest("two").digest,
        }
        assert {found.digest for found in seen.manifests()} == {manifest("one").digest, manifest("two").digest}


def test_a_manifest_that_loses_its_last_name_stays_nameless(index: Index) -> None:
    index.set("a:1", manifest("one"))
    index.set("a:1", manifest("two"))
    assert index.names()["a:1"].digest == manifest("two").digest
    assert manifest("one") in index.manifests()
    index.remove(["a:1"])
    assert index.names() == {}
    assert {found.digest for found in index.manifests()} == {manifest("one").digest, manifest("two").digest}


def test_one_of_two_names_goes_alone(index: Index) -> None:
    index.update({"a:1": manifest("one"), "a:2": manifest("one")})
    index.remove(["a:1"])
    assert [*index.names()] == ["a:2"]
    assert len(index.manifests()) == 1


def test_drop_takes_a_manifest_with_all_its_names(index: Index) -> None:
    index.update({"a:1": manifest("one"), "a:2": manifest("one"), "b:1": manifest("two")}, [manifest("three")])
    index.drop([manifest("one").digest, manifest("three").digest])
    assert [*index.names()] == ["b:1"]
    assert [found.digest for found in index.manifests()] == [manifest("two").digest]


def test_add_twice_is_add_once(index: Index) -> None:
    index.add(manifest("one"))
    index.add(manifest("one"))
    assert index.manifests() == [manifest("one")]


def test_what_another_program_writes_is_seen(index: Index, tmp_path: Path) -> None:
    index.set("a:1", manifest("one"))
    file = tmp_path / "index.json"
    document = json.loads(file.read_text())
    document["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "other:1"
    file.write_text(json.dumps(document))
    assert [*index.names()] == ["other:1"]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"manifests": [{"digest": "sha256:../x", "mediaType": "", "size": 1}]}']
)
def test_a_damaged_index_is_an_error_and_never_overwritten(index: Index, tmp_path: Path, damage: str) -> None:
    index.set("a:1", manifest("one"))
    (tmp_path / "index.json").write_text(damage)
    for ask in (index.names, index.manifests, lambda: index.set("b:1", manifest("two"))):
        with pytest.raises(HostLimit, match=r"index\.json"):
            ask()
    assert (tmp_path / "index.json").read_text() == damage


def test_threads_that_write_at_once_lose_nothing(index: Index) -> None:
    threads = [
        threading.Thread(target=lambda at=at: [index.set(f"{at}:{n}", manifest(f"{at}{n}")) for n in range(5)])
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(index.names()) == 20


@settings(deadline=None)  # it writes to the disk, which others use too
@given(st.lists(st.tuples(st.sampled_from(["set", "remove", "drop", "add"]), st.integers(0, 2), st.integers(0, 2))))
def test_the_index_does_what_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    path = tmp_path_factory.mktemp("index")
    index = Index(Store(path).root)
    names: dict[str, str] = {}
    there: set[str] = set()
    for step, name_number, label_number in steps:
        name, one = f"n:{name_number}", manifest(str(label_number))
        if step == "set":
            index.set(name, one)
            names[name] = one.digest
            there.add(one.digest)
        elif step == "add":
            index.add(one)
            there.add(one.digest)
        elif step == "remove":
            index.remove([name])
            names.pop(name, None)
        else:
            index.drop([one.digest])
            names = {key: value for key, value in names.items() if value != one.digest}
            there.discard(one.digest)
    assert {key: value.digest for key, value in index.names().items()} == names
    assert {found.digest for found in index.manifests()} == there
    assert Index(path).names() == index.names()


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed (Debian: apt install skopeo)")
def test_skopeo_reads_the_layout_as_it_lies(tmp_path: Path) -> None:
    store = Store(tmp_path)
    config = store.put(
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', media_types.CONFIG
    )
    body = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": {"mediaType": config.media_type, "digest": config.digest, "size": config.size},
        "layers": [],
    }
    Index(tmp_path).set("docker.io/library/x:1", store.put(json.dumps(body).encode(), media_types.MANIFEST))
    asked = ["skopeo", "inspect", f"oci:{tmp_path}:docker.io/library/x:1"]
    assert json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["Architecture"] == "amd64"
