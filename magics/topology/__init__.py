"""The running system as a picture: `model` reads the engine's document, `layout` places, `draw` makes SVG of it."""
