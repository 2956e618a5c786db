"""The Dosirak kernel: IPython's own, with the magics there from the start.

`kernel` is the kernel, `python -m dosirak.kernel -f FILE` runs it, `spec/` is what Jupyter finds, `command` and
`install` put it there.
"""
