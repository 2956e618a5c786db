"""Building from a cell: the context as a tar stream, the engine's messages as steps, and their views."""
