"""`%layers`: the numbers, the picture, the look-up of a path; nothing from outside becomes markup."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.errors import DosirakError, NotSupported
from dosirak.magics.layers.model import instruction, read
from dosirak.magics.layers.view import LayersView
from support.engines import Engine

EVIL = "<script>alert(1)</script>\u202e\x1b[31m"


def document(count: int = 2, created_by: str = "/bin/sh -c make") -> dict[str, Any]:
    layers = [
        {
            "diff_id": f"sha256:{number:064x}",
            "size": 500,
            "unpacked": 1000 * number,
            "wasted": 100 * number,
            "files": {"added": number, "changed": 2, "deleted": 3},
            "created_by": created_by,
        }
        for number in range(count)
    ]
    return {"layers": layers, "total": 1000, "wasted": 100, "efficiency": 0.9}


def svg_of(view: LayersView) -> str:
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', view._repr_html_())
    assert source is not None
    return base64.b64decode(source[1]).decode()


@pytest.fixture
def changed(engine: Engine, busybox: str) -> str:
    script = "echo hello > /bin/added; rm /bin/busybox"
    engine.docker("run", "--name", "layered", busybox, "sh", "-c", script)
    engine.docker("commit", "layered", "layered/image:1")
    engine.docker("rm", "layered")
    return "layered/image:1"


def test_an_image_is_shown_layer_by_layer(magic: Any, changed: str) -> None:
    view = magic("layers", f"{changed} /bin/busybox")
    lower, upper = view.layers.layers
    assert (upper.added, upper.deleted) == (1, 1)
    assert lower.wasted == view.layers.wasted > 0
    assert "/bin/busybox: added by layer 0" in repr(view)
    assert "/bin/busybox: deleted by layer 1" in repr(view)
    assert list(view.frame()["SIZE"]) == [lower.size, upper.size]
    assert ET.fromstring(svg_of(view)).tag.endswith("svg")
    assert "/nowhere: in no layer" in repr(magic("layers", f"{changed} /nowhere"))


def test_a_terminal_gets_a_table(engine: Engine, changed: str) -> None:
    command = str(Path(sys.executable).with_name("dosirak"))
    done = subprocess.run([command, "layers", changed], capture_output=True, text=True, env=engine.environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == [
        *("LAYER", "SIZE", "WASTED", "ADDED", "CHANGED", "DELETED", "INSTRUCTION")
    ]
    assert "is seen by a container" in done.stdout


def test_what_is_no_image_is_one_line(magic: Any, engine: Engine, tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(DosirakError, match="No such image: nosuch:latest"):
        magic("layers", "nosuch")
    from support.recorder import Recorder

    with Recorder(tmp_path / "s") as recorded:
        monkeypatch.setenv("DOCKER_HOST", recorded.host)
        with pytest.raises(NotSupported, match="needs Dosirak's own engine"):
            magic("layers", "busybox")


def test_the_picture_escapes_and_stays_a_page_wide() -> None:
    for count in (0, 1, 128):
        view = LayersView(read(document(count, EVIL), EVIL, EVIL))
        picture = svg_of(view)
        ET.fromstring(picture)
        for text in (picture, view._repr_html_(), repr(view)):
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert "<script" not in picture + view._repr_html_()
    assert "more below" in picture


def test_instructions_read_as_in_the_dockerfile() -> None:
    assert instruction("/bin/sh -c #(nop) COPY a b # buildkit") == "COPY a b"
    assert instruction("/bin/sh -c apt-get update") == "RUN apt-get update"
    assert instruction("RUN /bin/sh -c make") == "RUN /bin/sh -c make"
