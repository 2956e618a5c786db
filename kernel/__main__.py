"""`python -m dosirak.kernel -f CONNECTION_FILE`: what the kernelspec's argv starts."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp


def main() -> None:
    """Run the kernel until it is told to end."""
    from dosirak.kernel.kernel import DosirakKernel

    IPKernelApp.launch_instance(kernel_class=DosirakKernel)


if __name__ == "__main__":
    main()
