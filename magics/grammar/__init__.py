"""The command grammar, once for all doors: pflag's manners on top of click, values, and `create`'s flags.

`flags` reads a command line as the docker CLI's pflag does, `values` converts single values, `listing` holds what
every `ls` shares, `create` turns the flags of `run` and `create` into the API's document. Pure: nothing here talks
to an engine.
"""
