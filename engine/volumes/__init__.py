"""Volumes: named and anonymous directories under <data>/volumes, filled from the image on first use (copy-up)."""

from __future__ import annotations

from dosirak.engine.volumes.manager import Volumes
from dosirak.engine.volumes.model import Volume

__all__ = ["Volume", "Volumes"]
