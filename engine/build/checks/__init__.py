"""What is wrong with a Dockerfile short of an error: BuildKit's build checks.

`examine` reads a whole file; the rules stand one subject a module: how it is written (`written`), what its FROMs say
(`bases`), what its stages do (`stages`). Pure: nothing is fetched or run.
"""

from __future__ import annotations

from dosirak.engine.build.checks.examine import Report, Setting, examine, of_build
from dosirak.engine.build.checks.options import Options
from dosirak.engine.build.checks.rules import RULES, Finding, Rule

__all__ = ["RULES", "Finding", "Options", "Report", "Rule", "Setting", "examine", "of_build"]
