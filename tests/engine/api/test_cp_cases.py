"""`docker cp` by the docker CLI, against what a real dockerd made of the same cases (support/cp)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.cp import cases
from support.engines import Engine

_RECORDED = json.loads((Path(cases.__file__).parent / "recorded.json").read_text())

# Where dockerd 20.10, which the record is of, is wrong or has other words than its successors.
_BETTER: dict[str, dict[str, Any]] = {
    # It looks the user up on the host, by the whole of "user:group".
    "archive mode with a user": {
        "code": 0,
        "error": "",
        "inside": [
            "new dir 755 1000:7 ",
            "new/link link 777 1000:7 one",
            "new/one file 644 1000:7 b'one\\n'",
            "new/sub dir 755 1000:7 ",
            "new/sub/two file 644 1000:7 b'two\\n'",
        ],
    },
    "archive mode with a user's name": {
        "code": 0,
        "error": "",
        "inside": [
            "new dir 755 1000:1000 ",
            "new/link link 777 1000:1000 one",
            "new/one file 644 1000:1000 b'one\\n'",
            "new/sub dir 755 1000:1000 ",
            "new/sub/two file 644 1000:1000 b'two\\n'",
        ],
    },
    "tar that climbs": {"error": "Error response from daemon: ../x: invalid entry name: leads out of the root"},
}


def _expected(name: str) -> dict[str, Any]:
    recorded = _RECORDED[name] | _BETTER.get(name, {})
    words = recorded["error"].replace("Error processing tar file(exit status 1): ", "")
    return recorded | {"error": re.sub(r"lstat /\S*/overlay2/[0-9a-f]+/merged", "lstat ", words)}


@pytest.fixture(scope="module")
def played(worker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All cases on our engine."""
    image = worker_engine.start().import_busybox()
    return cases.play(worker_engine.docker, image, tmp_path_factory.mktemp("cp"))


@pytest.mark.parametrize("name", [case.name for case in cases.CASES])
def test_cp_does_what_docker_does(name: str, played: dict[str, dict[str, Any]]) -> None:
    assert played[name] == _expected(name)


def test_the_record_has_every_case() -> None:
    assert {case.name for case in cases.CASES} == _RECORDED.keys()
