"""Go templates: what Docker's documentation and scripts use of them."""

from __future__ import annotations

from typing import Any

import pytest

from dosirak.magics.errors import UsageError
from dosirak.magics.templates import TemplateError, parse, render
from dosirak.magics.templates.rows import format_documents, format_rows

DATA: dict[str, Any] = {
    "Name": "/web",
    "State": {"Pid": 12, "Running": True, "Health": None},
    "Args": ["-c", "x & <y>"],
    "Labels": {"b": "2", "a": "1"},
    "NetworkSettings": {
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
        "Ports": {"80/tcp": [{"HostPort": "8080"}]},
    },
    "Empty": [],
    "Size": 1.5,
}

CASES = [
    ("plain", "plain"),
    ("{{.Name}}", "/web"),
    ("{{ .State.Pid }}!", "12!"),
    ("{{.State.Running}}", "true"),
    ("{{.Args}}", "[-c x & <y>]"),
    ("{{.Labels}}", "map[a:1 b:2]"),
    ("{{json .Args}}", r'["-c","x \u0026 \u003cy\u003e"]'),
    ("{{.State.Health}}", "<no value>"),
    ("{{.Size}}", "1.5"),
    ('{{join .Args ","}}', "-c,x & <y>"),
    ("{{.Name | upper}}", "/WEB"),
    ('{{.Name | printf "%-6s|"}}', "/web  |"),
    ('{{printf "%q %d %5.2f%%" .Name .State.Pid .Size}}', '"/web" 12  1.50%'),
    ("{{len .Args}}", "2"),
    ("{{index .Args 0}}", "-c"),
    ('{{index .Labels "a"}}', "1"),
    ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
    ("{{range .Args}}<{{.}}>{{end}}", "<-c><x & <y>>"),
    ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
    ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
    ("{{range .Empty}}x{{else}}none{{end}}", "none"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if eq .State.Pid 0}}a{{else if eq .State.Pid 12}}b{{else}}c{{end}}", "b"),
    ("{{if and .State.Running (not .Empty)}}yes{{end}}", "yes"),
    ("{{if or .Empty .State.Health}}yes{{else}}no{{end}}", "no"),
    ("{{with .State}}{{.Pid}}{{end}}", "12"),
    ("{{with $x := .Name}}{{$x}}{{end}}", "/web"),
    ("{{$n := .Name}}{{$n}}{{$.State.Pid}}", "/web12"),
    ("{{range .Args}}{{$.Name}}{{end}}", "/web/web"),
    ("a {{- .Name -}} b", "a/webb"),
    ("{{/* nothing */}}x", "x"),
    ("{{println .Name}}", "/web\n"),
    ('{{ne .Name "x"}} {{lt 1 2}} {{ge 2 2}}', "true true true"),
    ('{{title "a word"}} {{lower "ABC"}} {{split "a/b" "/"}}', "A Word abc [a b]"),
    ('{{truncate .Name 2}}|{{pad "x" 1 2}}', "/w| x  "),
    ("{{`raw {{` }}", "raw {{"),
]


@pytest.mark.parametrize(("template", "expected"), CASES)
def test_a_template_renders_as_in_go(template: str, expected: str) -> None:
    assert render(parse(template), DATA) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{.Nmae}}", 'no field or entry "Nmae"; did you mean Name?'),
        ("{{.Name.X}}", "can't evaluate field X"),
        ("{{.State.Health.Status}}", 'nil data; no entry for key "Status"'),
        ("{{frob .Name}}", 'function "frob" not defined'),
        ("{{if .Name}}x", "{{end}} is missing"),
        ("{{.Name", "unclosed action"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{}}", "missing value for command"),
        ("{{index .Args 9}}", "error calling index"),
        ('{{join .Name ","}}', "join wants a list"),
        ("{{range .Name}}{{end}}", "range can't iterate"),
        ("{{$y}}", 'undefined variable "$y"'),
        ("{{ ( .Name }}", "unclosed left paren"),
    ],
)
def test_a_wrong_template_is_told_in_one_line(template: str, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(parse(template), DATA)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ROWS = [{"ID": "abc", "Names": "web"}, {"ID": "d", "Names": "database"}]


def test_a_table_template_has_docker_s_header() -> None:
    lines = format_rows(r"table {{.Names}}\t{{.ID}}", ROWS, {"ID": "CONTAINER ID"})
    assert lines == ["NAMES      CONTAINER ID", "web        abc", "database   d"]


def test_json_is_an_object_a_line_with_sorted_keys() -> None:
    assert format_rows("json", [{"b": 1, "a": "<", "f": len}], {}) == [r'{"a":"\u003c","b":1}']


def test_a_wrong_template_is_docker_s_error() -> None:
    with pytest.raises(UsageError, match=r"template parsing error: unclosed action"):
        format_documents("{{.Name", [DATA])
