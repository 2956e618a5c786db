"""Images: references, configs and manifests, archives in and out, and the image made of this machine.

The content store is the truth: what is an image here is what `index.json` names. Nothing of it is kept in the database.
"""

from __future__ import annotations

from dosirak.engine.images.config import Healthcheck, History, ImageConfig, RootFS, RunConfig
from dosirak.engine.images.images import Images
from dosirak.engine.images.model import HistoryItem, Image, Removed, Usage
from dosirak.engine.images.reference import Reference, parse

__all__ = [
    "Healthcheck",
    "History",
    "HistoryItem",
    "Image",
    "ImageConfig",
    "Images",
    "Reference",
    "Removed",
    "RootFS",
    "RunConfig",
    "Usage",
    "parse",
]
