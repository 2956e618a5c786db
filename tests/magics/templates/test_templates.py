"""Go templates: what Docker's documentation and scripts use of them."""

from __future__ import annotations

from typing import Any

import pytest

from dosirak.magics.errors import UsageError
from dosirak.magics.templates import TemplateError, parse, render
from dosirak.magics.templates.raw import raw_ids, raw_rows
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
        ("{{.Nope}}", 'template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("{{.Nmae}}", 'map has no entry for key "Nmae"; did you mean Name?'),
        ("{{.Name.X}}", """:1:7: executing "" at <.Name.X>: can't evaluate field X in type interface {}"""),
        ("x\n한 {{if .Nope}}{{end}}", 'template: :2:9: executing "" at <.Nope>: '),
        ("{{range .Args}}{{$.Nope}}{{end}}", ':1:18: executing "" at <$.Nope>: map has no entry'),
        ("{{.State.Health.Status}}", 'nil data; no entry for key "Status"'),
        ("{{frob .Name}}", 'template: :1: function "frob" not defined'),
        ("a\nb{{.Name | frob}}", 'template: :2: function "frob" not defined'),
        ("{{if .Name}}x\n", "template: :2: unexpected EOF"),
        ("{{.Name", "template: :1: unclosed action"),
        ("\n{{$x := .Name}}{{$x}}{{$y.Z}}", 'template: :2: undefined variable "$y"'),
        ('{{"a}}', "template: :1: unterminated quoted string"),
        ("{{.Name !}}", 'template: :1: unexpected "!" in operand'),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{else}}", "template: :1: unexpected {{else}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{index .Args 9}}", 'executing "" at <index .Args 9>: error calling index'),
        ("{{len 3}}", 'template: :1:2: executing "" at <len 3>: error calling len: len of type int'),
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
    with pytest.raises(UsageError, match=r"^template parsing error: template: :1: unclosed action$") as caught:
        format_documents("{{.Name", [DATA])
    assert caught.value.exit_code == 64
    with pytest.raises(UsageError, match=r"^template parsing error: template: :1:2: executing") as caught:
        format_documents("{{.Nope}}", [DATA])
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("kind", "template", "message"),
    [
        (
            "containers",
            "table {{.Nope}}",
            """failed to execute template: template: :1:8: executing "" at <.Nope>: """
            "can't evaluate field Nope in type *formatter.ContainerContext",
        ),
        ("containers", "{{.ID", "failed to parse template: template: :1: unclosed action"),
        (
            "images",
            "{{.Nope}}",
            """template parsing error: template: :1:2: executing "" at <.Nope>: """
            "can't evaluate field Nope in type *formatter.imageContext",
        ),
        ("images", "{{.ID", "template parsing error: template: :1: unclosed action"),
        (
            "containers",
            "{{.ID.Foo}}",
            """failed to execute template: template: :1:5: executing "" at <.ID.Foo>: """
            "can't evaluate field Foo in type string",
        ),
    ],
)
def test_a_listing_s_wrong_template_is_docker_s_error(kind: str, template: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        format_rows(template, ROWS, {}, kind)
    assert (str(caught.value), caught.value.exit_code) == (message, 1)


def test_raw_is_a_block_of_lines_for_each_row() -> None:
    row = {"ID": "i", "Name": "n", "Driver": "bridge", "Scope": "local"}
    block = ["network_id: i", "name: n", "driver: bridge", "scope: local", ""]
    assert raw_rows("networks", [row, row], []) == block * 2
    image = {"Repository": "r", "Tag": "t", "Digest": "", "ID": "i", "CreatedAt": "c", "Size": "1MB"}
    assert "digest:" not in raw_rows("images", [image], [])
    assert "digest:" in raw_rows("images", [image], ["DIGEST"])
    assert raw_ids("volumes", ["v"]) == ["name: v"]
