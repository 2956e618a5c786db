"""Single values of flags, converted as Docker's clients convert them, with the same messages.

Each `parse_…` function is pure and raises ValueError with Docker's (or Go's) words; `value_type` makes a click type
of it, whose failures name the flag and the value.
"""

from __future__ import annotations

import re
from fractions import Fraction
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic only since click 8.4

_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
ULIMITS = frozenset(
    ("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio")
).union(("rttime", "sigpending", "stack"))
_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


class _Parsed(ParamType):
    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value  # a default
        try:
            return self._parse(value)
        except ValueError as error:
            failure = click.BadParameter(str(error), ctx, param)
            failure.value = value  # type: ignore[attr-defined]
            raise failure from error


def value_type(name: str, parse: Callable[[str], Any]) -> ParamType:
    """Return a click type shown as `name` in help, converting by `parse` (which raises ValueError)."""
    return _Parsed(name, parse)


def parse_size(text: str) -> int:
    """Return bytes of "512m", "1.5GiB", "1024"; the units are binary (go-units, RAMInBytes)."""
    end = max(text.rfind(c) for c in "0123456789. ")
    if end < 0:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[: end + 1], text[end + 1 :].lower()
    if number.endswith(" "):
        number = number[:-1]
    size = _parse_float(number)
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return int(size)
    unit = _BINARY.get(suffix[0])
    if unit is None or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(size * unit)


def parse_swap(text: str) -> int:
    """Return bytes, or -1 for unlimited swap."""
    return -1 if text == "-1" else parse_size(text)


def _parse_float(text: str) -> float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE | re.ASCII):
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    return float(text)


def parse_cpus(text: str) -> int:
    """Return a number of CPUs ("1.5", "3/4") in billionths."""
    try:
        nano = Fraction(text) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return int(nano)


def parse_int(text: str) -> int:
    """Return a whole number, as Go's strconv.ParseInt reads a decimal one."""
    return _whole(text, "ParseInt", r"[+-]?\d+")


def parse_uint(text: str) -> int:
    """Return a whole number that is not negative."""
    return _whole(text, "ParseUint", r"\d+")


def _whole(text: str, function: str, pattern: str) -> int:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
    return int(text)


def parse_duration(text: str) -> int:
    """Return nanoseconds of "1m30s", "250ms" (Go's time.ParseDuration)."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, position = Fraction(0), 0
    for match in _DURATION.finditer(rest):
        if match.start() != position or match.group(1) in ("", "."):
            break
        number = match.group(1)
        total += Fraction(f"0{number}" if number.startswith(".") else number.rstrip(".")) * _NANOSECONDS[match.group(2)]
        position = match.end()
    if position != len(rest) or not rest:
        if rest and re.fullmatch(r"[0-9.]+", rest):
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit := re.match(r"[0-9.]+([^0-9.]+)", rest[position:]):
            raise ValueError(f'time: unknown unit "{unit.group(1)}" in duration "{text}"')
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * int(total)


def parse_env(text: str, environment: dict[str, str] | None = None) -> str:
    """Return "NAME=value"; a bare NAME takes its value from this process, and stays bare when there is none."""
    import os

    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    known = os.environ if environment is None else environment
    return text if equals or name not in known else f"{name}={known[name]}"


def parse_label(text: str) -> str:
    """Check "key=value" or "key"."""
    key = text.partition("=")[0].lstrip(" \t")
    if not key:
        raise ValueError(f"invalid label '{text}': empty name")
    if " " in key or "\t" in key:
        raise ValueError(f"label '{key}' contains whitespaces")
    return text


def parse_ulimit(text: str) -> dict[str, Any]:
    """Return {"Name", "Hard", "Soft"} of "nofile=1024[:2048]"."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    values = limits.split(":")
    if len(values) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft, hard = parse_int(values[0]), parse_int(values[-1])
    if hard != -1:
        if soft == -1:
            raise ValueError(
                f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
            )
        if soft > hard:
            raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def parse_sysctl(text: str) -> str:
    """Check that "name=value" names a sysctl that belongs to a namespace."""
    name, equals, _ = text.partition("=")
    if equals and (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        return text
    raise ValueError(f"sysctl '{text}' is not allowed")


def parse_address(text: str) -> str:
    """Return an IP address in its canonical form."""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def parse_extra_host(text: str) -> str:
    """Return "name:address" of "name:address" or "name=address"; the address may be host-gateway."""
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not separator or not name or ":" in name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        try:
            ip_address(address)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def parse_dns_search(text: str) -> str:
    """Check a search domain; "." stands for none."""
    text = text.strip(" ")
    label = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
    if text == ".":
        return text
    if re.search("[a-zA-Z]", text) and re.fullmatch(rf"{label}(\.{label})*\.?\s*", text) and len(text) < 255:
        return text.rstrip().removesuffix(".")
    raise ValueError(f"{text} is not a valid domain")


def parse_link(text: str) -> str:
    """Check "container[:alias]"."""
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def parse_stream(text: str) -> str:
    """Return stdin, stdout or stderr."""
    if text.lower() in ("stdin", "stdout", "stderr"):
        return text.lower()
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def parse_filter(text: str) -> tuple[str, str]:
    """Return (name, value) of a listing's filter."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


SIZE = value_type("bytes", parse_size)
SWAP = value_type("bytes", parse_swap)
CPUS = value_type("decimal", parse_cpus)
INT = value_type("int", parse_int)
DURATION = value_type("duration", parse_duration)
ENV = value_type("list", parse_env)
LABEL = value_type("list", parse_label)
ULIMIT = value_type("ulimit", parse_ulimit)
SYSCTL = value_type("map", parse_sysctl)
ADDRESS = value_type("ip", parse_address)
EXTRA_HOST = value_type("list", parse_extra_host)
DNS_SEARCH = value_type("list", parse_dns_search)
LINK = value_type("list", parse_link)
STREAM = value_type("list", parse_stream)
FILTER = value_type("filter", parse_filter)
LIST = value_type("list", str)
