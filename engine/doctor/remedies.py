"""The commands that give a host what it lacks, as its distribution spells them; whole, to be pasted into a shell."""

from __future__ import annotations

from dosirak.engine.doctor.model import Seen

_MANAGERS = {
    "debian": "apt-get install -y",
    "fedora": "dnf install -y",
    "rhel": "dnf install -y",
    "suse": "zypper install -y",
    "arch": "pacman -S --noconfirm",
    "alpine": "apk add",
}
# Where a package has another name than Debian's.
_NAMES = {
    "uidmap": {"fedora": "shadow-utils", "rhel": "shadow-utils"} | dict.fromkeys(("suse", "arch"), "shadow"),
    "libnftables1": {"fedora": "nftables", "rhel": "nftables", "arch": "nftables", "alpine": "nftables"},
}
DELEGATE = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n'"
    " | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload  # then log in anew"
)


def install(seen: Seen, package: str) -> str:
    """Install a package, named as Debian names it."""
    for family in seen.family:
        if family in _MANAGERS:
            return f"sudo {_MANAGERS[family]} {_NAMES.get(package, {}).get(family, package)}"
    return f"install the package {package}"


def setting(name: str, value: int | str) -> str:
    """Set a sysctl, now and after the next boot."""
    return f"sudo sysctl -w {name}={value} && echo {name}={value} | sudo tee -a /etc/sysctl.d/60-dosirak.conf"


def module(name: str) -> str:
    """Load a kernel module, now and after the next boot."""
    return f"sudo modprobe {name} && echo {name} | sudo tee -a /etc/modules-load.d/dosirak.conf"


def ids(name: str, first: int) -> str:
    """Give a user 65536 ids that nobody has. Parameters: `name`: also a number; `first`: of the ids."""
    return f"echo {name}:{first}:65536 | sudo tee -a /etc/subuid /etc/subgid"


def outside(seen: Seen, here: str) -> str:
    """What is to be done about what a surrounding container forbids; without one, `here`."""
    return outer(seen) if seen.container else here


def outer(seen: Seen) -> str:
    """What whoever runs the surrounding container has to say."""
    if seen.container == "kubernetes":
        return "in the pod: securityContext: {privileged: true}, and an emptyDir volume at /var/lib/dosirak"
    return f"{'podman' if seen.container == 'podman' else 'docker'} run --privileged -v dosirak:/var/lib/dosirak …"
