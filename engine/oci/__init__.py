"""The OCI runtime command line: `dosirak runtime create|start|…`, in the manner of runc and crun.

`program` is the command line itself; `lifecycle`, `execution`, `looking`, `limits`, `template` and `features` are what
its commands do; `launch` stands between them and `engine/runtime`. No service takes part: a container's process is a
child of the caller's, its state lies in a directory (`state`). Each command is a Python of its own, so this room
imports next to nothing; neither does this file.
"""
