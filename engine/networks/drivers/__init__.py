"""Network drivers, one a module: what a container's connection to a network of that kind is made of.

`Driver` is what `Networks` asks of each; a new kind of network is a new module here and a line in `manager.py`.
"""

from __future__ import annotations

from dosirak.engine.networks.drivers.base import Attachment, Driver, Request
from dosirak.engine.networks.drivers.bridge import Bridge
from dosirak.engine.networks.drivers.host import Host
from dosirak.engine.networks.drivers.none import Null
from dosirak.engine.networks.drivers.template import Template

__all__ = ["Attachment", "Bridge", "Driver", "Host", "Null", "Request", "Template"]
