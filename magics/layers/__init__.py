"""An image layer by layer: `model` reads the engine's document, `draw` makes a picture of it, `view` shows both."""
