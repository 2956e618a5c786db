"""What the engine remembers and tells: the SQLite database, the events, and Docker's filters over both.

`Database` is one connection on the event loop's thread; `schema.sql` is every room's tables; each room keeps its own
statements. `Events` is the stream behind `GET /events`.
"""

from __future__ import annotations

from dosirak.engine.state.damaged import Damaged
from dosirak.engine.state.database import Database
from dosirak.engine.state.documents import decode_all
from dosirak.engine.state.events import Event, Events, Subscription
from dosirak.engine.state.filters import Filters, check_filters

__all__ = ["Damaged", "Database", "Event", "Events", "Filters", "Subscription", "check_filters", "decode_all"]
