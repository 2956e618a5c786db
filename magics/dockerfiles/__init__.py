"""What a `%%dockerfile` cell knows of its language: `complete` for the Tab key, `describe` for help on an instruction.

`language` is the table of instructions, `position` where in a file the cursor stands, `notebook` the part that IPython
calls. Pure but for `notebook`; nothing here is imported before somebody asks.
"""

from __future__ import annotations

from dosirak.magics.dockerfiles.candidates import complete
from dosirak.magics.dockerfiles.describe import Help, asked, describe

__all__ = ["Help", "asked", "complete", "describe"]
