"""From an OCI runtime-spec document (`config.json`) to a process: the room that touches the kernel.

`container` and `child` turn the document into a process; `rootfs`, `namespaces`, `cgroups`, `seccomp` and the rest are
its parts. It serves a supervised process (`engine/supervision`) and the OCI command line (`engine/oci`) alike. Knows
nothing of images, names or HTTP. This file imports nothing, for the launcher's sake.
"""
