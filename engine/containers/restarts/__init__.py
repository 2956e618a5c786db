"""Restart policies, as far as the service has a part in them.

A container that ends is started again by its own monitor (`supervision/monitor.py`), service or not. What no monitor is
left to do is done here: after the machine has booted, and after a monitor was killed.
"""
