"""The files of a container: copied in and out, compared with its image, exported, made an image.

`view` shows them safely, `copying` is `docker cp` and `docker export`, `changes` is `docker diff`, `committing` is
`docker commit`, `sizes` what `ps --size` shows; `Files` is the door, reached as `containers.files`.
"""

from __future__ import annotations

from dosirak.engine.containers.files.committing import Request as CommitRequest
from dosirak.engine.containers.files.door import Files
from dosirak.engine.containers.files.model import Change, Kind, PathStat, Size

__all__ = ["Change", "CommitRequest", "Files", "Kind", "PathStat", "Size"]
