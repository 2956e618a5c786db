"""What a RUN step finds mounted: binds, caches, tmpfs, secrets, agents, script documents.

`step.StepMounts` is the door: a vertex's mounts in, the mounts of an OCI config.json and an environment out. Nothing is
imported here: the service looks after the caches without knowing the language.
"""
