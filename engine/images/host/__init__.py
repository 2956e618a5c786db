"""`dosirak/host`: an image made of this machine's own programs, so that there is one without any network.

`contents` chooses what goes in, `tree` follows links and libraries (`elf`), `writing` copies, `image` keeps it fresh.
"""

from __future__ import annotations

from dosirak.engine.images.host.image import HostImage

__all__ = ["HostImage"]
