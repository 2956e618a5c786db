"""The container engine: everything that isolates, stores, builds and serves; knows nothing of notebooks.

One folder a subject; `service` composes them into the process that speaks the Docker Engine API.
This file imports nothing: the launcher (`supervision/launcher.py`) starts through it on every boot of the engine.
"""
