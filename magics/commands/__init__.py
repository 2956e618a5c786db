"""The commands, a module a subject; each is loaded when it is first used. `tree` is the list of all.

A command translates its flags, calls the engine, and returns a `Result`; it never prints a result itself.
"""
