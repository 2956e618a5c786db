"""Other people's tests of an OCI runtime, run against `dosirak runtime`: runtime-tools' validation, runc's, crun's.

`run.py` is the door; `sources` fetches and `suites` builds and runs what is theirs, into build/conformance; `results`
reads what their tests say, and compares it with `expected/`, where each failure that is known stands with its reason.
"""
