"""`--log-driver` and `--log-opt`, and what Docker says to those that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosirak.engine.containers.documents import ContainerConfig, HostConfig, LogConfig
from dosirak.engine.containers.logs.attributes import attributes
from dosirak.engine.containers.logs.options import check_log_config, log_file, log_of
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.units import parse_size
from dosirak.engine.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "size"),
    [("10", 10), ("10b", 10), ("10k", 10_000), ("1.5MB", 1_500_000), ("2 g", 2_000_000_000), ("1KiB", 1000), ("0", 0)],
)
def test_sizes_are_decimal(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1m", "10q", "10mm", "10bb", "1 2", "9" * 400, "10000p"])
def test_what_is_no_size(text):
    with pytest.raises(InvalidRequest, match="invalid s"):
        parse_size(text)


@pytest.mark.parametrize(
    ("kind", "options", "settings"),
    [
        ("json-file", {}, (0, 1, False)),
        ("json-file", {"max-size": "10m", "max-file": "3"}, (10_000_000, 3, False)),
        ("json-file", {"max-file": "3"}, (0, 3, False)),
        ("json-file", {"max-size": "1k", "max-file": "2", "compress": "true"}, (1000, 2, True)),
        ("local", {}, (20 << 20, 5, True)),
        ("local", {"max-size": "1m", "max-file": "2", "compress": "false"}, (1_000_000, 2, False)),
        ("local", {"max-file": "1", "compress": "0"}, (20 << 20, 1, False)),
    ],
)
def test_what_the_options_mean(kind, options, settings):
    log = LogConfig(type=kind, config=options)
    assert check_log_config(log) == []
    file = log_file(log, Path("log"))
    assert (file.max_size, file.max_files, file.compress) == settings and file.driver == kind


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("syslog", {}, "logger: no log driver named 'syslog' is registered"),
        ("json-file", {"bogus": "1"}, "unknown log opt 'bogus' for json-file log driver"),
        ("local", {"bogus": "1"}, "unknown log opt 'bogus' for log driver local"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"compress": "true"}, "compress cannot be true when max-file is less than 2"),
        ("json-file", {"compress": "maybe"}, 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
        ("local", {"max-file": "-1"}, "max-file must not be negative"),
        ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
        ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
        ("json-file", {"max-buffer-size": "1m"}, "logger: max-buffer-size option is only supported with 'mode=non-"),
        ("json-file", {"labels-regex": "("}, "error parsing regexp"),
        ("json-file", {"tag": "{{.Nope}}"}, "can't evaluate field Nope"),
        ("local", {"tag": "{{if .Name}}x{{end}}"}, "not understood"),
    ],
)
def test_what_is_refused(kind, options, message):
    with pytest.raises(InvalidRequest) as caught:
        check_log_config(LogConfig(type=kind, config=options))
    assert message in caught.value.message


def test_modes_are_taken():
    check_log_config(LogConfig(type="json-file", config={"mode": "non-blocking", "max-buffer-size": "4m"}))
    check_log_config(LogConfig(type="none", config={"anything": "goes"}))


def container(kind="json-file", **options):
    return Container(
        id="0123456789abcdef",
        name="lunch",
        created=0,
        image="sha256:fedcba9876543210",
        path="sh",
        args=["-c", "true"],
        config=ContainerConfig(
            image="rice:1", env=["A=1", "B=x=y", "HOME=/"], labels={"com.a": "one", "com.b": "two", "c": "three"}
        ),
        host_config=HostConfig(
            log_config=LogConfig(type=kind, config={k.replace("_", "-"): v for k, v in options.items()})
        ),
        log_path="/log",
    )


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, {}),
        ({"labels": "c,nope", "env": "A,B"}, {"c": "three", "A": "1", "B": "x=y"}),
        ({"labels_regex": "^com", "env_regex": "H"}, {"com.a": "one", "com.b": "two", "HOME": "/"}),
        ({"tag": "{{.Name}}/{{ .ID }}"}, {"tag": "lunch/0123456789ab"}),
        ({"tag": "{{.ImageName}} {{.ImageID}} {{.Command}}"}, {"tag": "rice:1 fedcba987654 sh -c true"}),
    ],
)
def test_attributes(options, found):
    assert attributes(container(**options)) == found


def test_a_json_file_has_them_in_each_entry_and_a_local_log_in_none():
    assert log_of(container(env="A")).attributes == '{"A":"1"}'
    assert log_of(container("local", env="A")).attributes == ""
    assert log_of(container()).attributes == ""
    assert log_of(container("none")) is None
