"""A container's streams at the client: taking over a connection, Docker's frames, safe text, interrupts, terminals."""
