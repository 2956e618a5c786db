"""Image archives: what `docker save` and `skopeo copy … oci-archive:` write, read as a stream and written.

`members` spools an archive into the store's temporary files; `docker` and `oci` say what images are in it; `save`
writes one that both read.
"""

from __future__ import annotations
