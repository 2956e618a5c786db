"""The step cache: what came of finished steps, how much of it is kept, what prunes remove."""

from dosirak.engine.build.cache.records import Record, StepCache, Usage

__all__ = ["Record", "StepCache", "Usage"]
