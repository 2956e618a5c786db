"""The step cache: what came of finished steps, how much of it is kept, what prunes remove."""

from dosirak.engine.build.cache.keeper import CacheKeeper
from dosirak.engine.build.cache.records import Record, StepCache
from dosirak.engine.build.cache.usage import Room, Usage

__all__ = ["CacheKeeper", "Record", "Room", "StepCache", "Usage"]
