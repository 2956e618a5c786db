"""Which namespaces a container has for itself, and which it shares with the host or another container.

`modes`: what can be asked for; `ids`: the user ids of those with a user namespace; `joining`: create and start.
"""
