"""What containers use, out of the engine's samples: `measure` asks and computes, `live` shows it as it changes."""
