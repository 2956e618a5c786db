"""What a container may do: capabilities, system calls, devices, clocks, sysctls, ulimits, `--security-opt`.

Pure but for `available_capabilities`, `devices_of` and `host_devices`, which look at the host, and `Confinement`, which
keeps compiled seccomp filters.
"""

from dosirak.engine.containers.security.capabilities import available_capabilities, choose_capabilities
from dosirak.engine.containers.security.clocks import time_offsets
from dosirak.engine.containers.security.devices import device_rules, devices_of, host_devices
from dosirak.engine.containers.security.options import SecurityOptions, parse_security_options
from dosirak.engine.containers.security.seccomp import Confinement, told
from dosirak.engine.containers.security.sysctls import check_sysctls
from dosirak.engine.containers.security.ulimits import rlimits

__all__ = [
    "Confinement",
    "SecurityOptions",
    "available_capabilities",
    "check_sysctls",
    "choose_capabilities",
    "device_rules",
    "devices_of",
    "host_devices",
    "parse_security_options",
    "rlimits",
    "time_offsets",
    "told",
]
