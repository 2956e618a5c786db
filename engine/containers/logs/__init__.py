"""A container's log: options (`options`, `attributes`), files (`parts`), formats (`entries`), and reading it
(`reader`) as the API answers it (`answer`). It is written by the monitor (`supervision/logs`)."""

from dosirak.engine.containers.logs.answer import check, records, stream

__all__ = ["check", "records", "stream"]
