"""Dockerfile → plan (a graph) → solve; the step cache, the context and its ignore rules.

`dockerfile/` reads the language, `plan.py` makes the graph, `solve.py` executes what is not cached, `work.py` leads.
The door is `Builder.build(request, progress)`; what it says while it works is in `model.py`,
and `messages.Renderer` words that as Docker's classic builder does.
"""

from __future__ import annotations

from dosirak.engine.build.builder import Builder
from dosirak.engine.build.messages import Renderer
from dosirak.engine.build.model import BuildRequest, Limits, Progress

__all__ = ["BuildRequest", "Builder", "Limits", "Progress", "Renderer"]
