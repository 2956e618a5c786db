"""A private registry over the local store: the distribution spec (v1.1), for sharing images in a classroom.

`shelf` says what of the store is shown under which name, `pushes` takes what others bring, `passwords` says who may,
`routes` speaks HTTP, `listener` is one registry on one port; `Serving` starts and stops them.

An image is shown by the name a person here knows it by: `docker.io/library/ubuntu` as `ubuntu` (and `library/ubuntu`,
as a mirror of the Hub is asked), `ghcr.io/a/b` as itself. What others push is kept as `localhost:PORT/…`, so nobody
elsewhere can put another image in the place of one that is used here; it is shown before what is here.
"""

from __future__ import annotations

from dosirak.engine.registry.serving.door import Serving
from dosirak.engine.registry.serving.model import Served, Wanted

__all__ = ["Served", "Serving", "Wanted"]
