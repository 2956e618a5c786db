"""A tutorial's page, pasted as it is into a `%%docker` cell: read into statements (`reading`), each of them run here or
by a shell that keeps its folder and variables from one to the next (`running`, `shell`)."""

from __future__ import annotations

from dosirak.magics.pages.reading import Statement, read
from dosirak.magics.pages.running import run

__all__ = ["Statement", "read", "run"]
