"""The Docker Engine API: one module a resource, which translates and decides nothing.

`server.py` is the door (versions, routes, errors), `connection.py` and `hijack.py` the raw streams,
`call.py` and `reply.py` what handlers read and answer with.
"""
