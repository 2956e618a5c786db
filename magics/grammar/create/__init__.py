"""The flags of `run` and `create`, and how they become the body of POST /containers/create.

One module a subject (ports, mounts, networks, …), each a pure function of the flags; `body` puts them together.
The result is, field for field, what the docker CLI 28 sends; `tests/magics/grammar` compares the two.
"""
