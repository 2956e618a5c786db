"""From an OCI runtime-spec document (`config.json`) to a process: the room that touches the kernel.

`client` is the asyncio side the engine service uses; `launcher` is the zygote process; `monitor` supervises one
process each; `container` and `child` turn the document into a process. What the launcher imports keeps to a few
built-in modules (no dataclasses, typing, asyncio): each monitor is a fork of it and pays for every page.
Knows nothing of images, names or HTTP. This file imports nothing, for the launcher's sake.
"""
