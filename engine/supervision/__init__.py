"""From a runtime document to a supervised process, which outlives the service.

`client` and `task` are the asyncio side that the engine service uses; `launcher` is the zygote process, which has its
`rehearsal`; a `monitor` supervises one process each, with a `starter` beside it that makes it by `engine/runtime`, and
gives back memory by `settling`; `streams`, `clients` and `logs` carry what it says.

What the launcher imports keeps to a few built-in modules (no dataclasses, typing, asyncio): each monitor is a fork of
it and pays for every page. This file imports nothing, for the launcher's sake.
"""
