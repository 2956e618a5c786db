"""Content: the OCI image layout on disk (`oci-layout`, `index.json`, `blobs/sha256/…`), readable by others as it lies.

Blobs are written beside, digested while they stream, renamed into place (`store`). Names live in `index.json`
(`index`). Which blobs are still needed is known upstairs (`images`); `Store.collect` removes the rest.
"""

from __future__ import annotations

from dosirak.engine.content.index import Index
from dosirak.engine.content.model import Descriptor, Platform
from dosirak.engine.content.store import BlobWriter, Store

__all__ = ["BlobWriter", "Descriptor", "Index", "Platform", "Store"]
