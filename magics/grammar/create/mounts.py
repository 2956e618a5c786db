"""`-v`, `--mount` and `--tmpfs`: what a container sees of volumes and of the host's files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from dosirak.magics.grammar.values import parse_size

_FLAGS = frozenset(("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"))
_RECURSIVE = {
    "enabled": None,
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}


def parse_volumes(specs: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Return (Binds, Volumes): what is mounted from somewhere, and the anonymous volumes' targets."""
    binds: list[str] = []
    volumes: dict[str, dict[str, str]] = {}
    for spec in dict.fromkeys(specs):
        source, target = _check_volume(spec)
        if not source:
            volumes[target] = {}
            continue
        host, _, rest = spec.partition(":")
        # A relative source is a path only with a leading dot: "data:/x" is the volume named data.
        binds.append(f"{Path(host).absolute().resolve()}:{rest}" if host.startswith(".") else spec)
    return binds, volumes


def _check_volume(spec: str) -> tuple[str, str]:
    if not spec:
        raise ValueError("invalid empty volume spec")
    parts = spec.split(":")
    if len(spec) <= 2 or len(parts) == 1:
        return "", spec
    if "" in parts:
        raise ValueError(f"invalid spec: {spec}: empty section between colons")
    if len(parts) > 3:
        raise ValueError(f"invalid spec: {spec}: too many colons")
    return parts[0], parts[1]


def parse_tmpfs(specs: list[str]) -> dict[str, str]:
    """Return {target: options} of all `--tmpfs` values."""
    return {target: options for target, _, options in (spec.partition(":") for spec in specs)}


def parse_mount(text: str) -> dict[str, Any]:
    """Return the API's Mount document of one `--mount` value, `type=bind,src=…,dst=…,…`."""
    text = text.strip()
    if not text:
        raise ValueError("value is empty")
    mount: dict[str, Any] = {"Type": "volume"}
    for field in next(csv.reader([text], strict=True)):
        _set_field(mount, field)
    _check_mount(mount)
    return mount


def _set_field(mount: dict[str, Any], field: str) -> None:
    key, equals, value = field.partition("=")
    if key.strip() != key:
        raise ValueError(f"invalid option '{key.strip()}' in '{field}': option should not have whitespace")
    if equals:
        if not value.strip():
            raise ValueError(f"invalid value for '{key}': value is empty")
        if value.strip() != value:
            raise ValueError(f"invalid value for '{key}' in '{field}': value should not have whitespace")
    key = key.lower()
    if not equals and key not in _FLAGS:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    if key.partition("-")[0] in ("bind", "volume", "image", "tmpfs"):
        _set_option(mount, key, value, bool(equals), field)
    elif key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        mount["Source"] = str(Path(value).absolute().resolve()) if value.startswith(".") else value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        _set_true(mount, "ReadOnly", _bool(key, value, bool(equals)))
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_option(mount: dict[str, Any], key: str, value: str, equals: bool, field: str) -> None:
    kind = key.partition("-")[0]
    options: dict[str, Any] = {}
    driver: dict[str, Any] = {}
    match key:
        case "bind-propagation":
            options["Propagation"] = value.lower()
        case "bind-nonrecursive":
            _set_true(options, "NonRecursive", _bool(key, value, equals))
        case "bind-recursive":
            if value not in _RECURSIVE:
                raise ValueError(
                    f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")'
                )
            if not (flag := _RECURSIVE[value]):
                return
            options[flag] = True
        case "bind-create-src":
            _set_true(options, "CreateMountpoint", _bool(key, value, equals))
        case "volume-subpath" | "image-subpath":
            options["Subpath"] = value
        case "volume-nocopy":
            _set_true(options, "NoCopy", _bool(key, value, equals))
        case "volume-label":
            options["Labels"] = _pair(value)
        case "volume-driver":
            driver["Name"] = value
        case "volume-opt":
            driver["Options"] = _pair(value)
        case "tmpfs-size":
            options["SizeBytes"] = _convert(key, value, parse_size)
        case "tmpfs-mode":
            options["Mode"] = _convert(key, value, lambda text: int(text, 8))
        case _:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    target = mount.setdefault(f"{kind.title()}Options", {})
    if kind == "volume":
        options["DriverConfig"] = driver
    for option, new in options.items():
        both = isinstance(new, dict) and isinstance(target.get(option), dict)
        target[option] = {**target[option], **new} if both else new


def _convert(key: str, value: str, convert: Any) -> int:
    try:
        return int(convert(value))
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _pair(text: str) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {key: value} if key else {}


def _set_true(target: dict[str, Any], key: str, value: bool) -> None:
    if value:  # Go leaves a false field out
        target[key] = True


def _bool(key: str, value: str, equals: bool) -> bool:
    if not equals or value in ("1", "true"):
        return True
    if value in ("0", "false"):
        return False
    raise ValueError(
        f"invalid value for '{key}': invalid boolean value (\"{value}\"):"
        ' must be one of "true", "1", "false", or "0" (default "true")'
    )


def _check_mount(mount: dict[str, Any]) -> None:
    if not mount["Type"]:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for kind in ("bind", "volume", "image", "tmpfs"):
        if f"{kind.title()}Options" in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    bind = mount.get("BindOptions", {})
    for option, value in (("ReadOnlyNonRecursive", "writable"), ("ReadOnlyForceRecursive", "readonly")):
        if bind.get(option) and not mount.get("ReadOnly"):
            raise ValueError(f"option 'bind-recursive={value}' requires 'readonly' to be specified in conjunction")
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )
