"""The published description of API 1.51, and a comparison of answers with it.

`api-1.51.json` is an extract of moby's description, made by `extract.py`; its licence stands in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DESCRIPTION = json.loads((Path(__file__).parent / "api-1.51.json").read_text(encoding="utf-8"))
_DEFINITIONS: dict[str, Any] = _DESCRIPTION["definitions"]
OPERATIONS: dict[str, Any] = _DESCRIPTION["operations"]

_TYPES = {"string": str, "integer": int, "boolean": bool, "number": (int, float), "array": list, "object": dict}


def problems(operation: str, answer: Any) -> list[str]:
    """What of `answer` (decoded JSON) does not fit the description of `operation` ("GET /containers/json").

    Fields too many ("made up"), too few ("missing"), and of a wrong type, each with its path; array items as `[]`,
    values of maps as `{}`.
    """
    return sorted(set(_compare(OPERATIONS[operation], answer, "")))


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references, its `allOf` merged."""
    while "$ref" in schema:
        schema = {**_DEFINITIONS[schema["$ref"].rpartition("/")[2]]} | {k: v for k, v in schema.items() if k != "$ref"}
    if "allOf" in schema:
        merged: dict[str, Any] = {"properties": {}}
        for part in map(_resolve, schema["allOf"]):
            merged["properties"] |= part.get("properties", {})
            merged |= {key: value for key, value in part.items() if key != "properties"}
        schema = merged
    return schema


def _compare(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    schema = _resolve(schema)
    kind = schema.get("type", "object" if "properties" in schema else None)
    if value is None:
        # Go writes an empty list or map that was never made as null, whatever the description says.
        if kind not in ("array", "object", None) and not schema.get("x-nullable"):
            yield f"{path}: null"
        return
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{path}: {type(value).__name__} instead of {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, list):
        for item in value:
            yield from _compare(schema.get("items", {}), item, f"{path}[]")
    elif isinstance(value, dict):
        yield from _compare_object(schema, value, path)


def _compare_object(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    described, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, item in value.items():
        if name in described:
            yield from _compare(described[name], item, f"{path}.{name}")
        elif others is not None:
            yield from _compare(others, item, f"{path}.{{}}")
        elif described:
            yield f"{path}.{name}: made up"
    yield from (f"{path}.{name}: missing" for name in described.keys() - value.keys())
