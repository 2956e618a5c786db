"""The engine as a process: `python -m dosirak.engine.service` puts the rooms together and serves their API.

Spawned by `dosirak.engine.start`, or in the foreground by `dosirak service`. This file imports nothing: the spawned
process forks before it imports anything else.
"""
