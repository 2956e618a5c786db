"""Makes `api-1.51.json` of moby's description: `python extract.py …/api/docs/v1.51.yaml > api-1.51.json`.

What is kept: the JSON answers of single-host operations, and the definitions these need; of each only names, types,
formats, enumerations and whether null is allowed. Descriptions and examples are left out.
"""

from __future__ import annotations

import json
import sys
from typing import Any

_KEPT = ("type", "format", "enum", "x-nullable", "$ref", "required", "minItems", "maxItems")
_LEFT_OUT = ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs", "/plugins", "/distribution", "/session")
NOTICE = (
    "An extract of moby's api/docs/v1.51.yaml (https://github.com/moby/moby), made by extract.py."
    " Copyright 2013-2018 Docker, Inc. Licensed under the Apache License, Version 2.0:"
    " https://www.apache.org/licenses/LICENSE-2.0"
)


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without its prose."""
    kept: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: shape(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = shape(schema["additionalProperties"])
    if "items" in schema:
        kept["items"] = shape(schema["items"])
    if "allOf" in schema:
        kept["allOf"] = [shape(inner) for inner in schema["allOf"]]
    return kept


def references(schema: Any) -> set[str]:
    """The definitions that a schema names."""
    if isinstance(schema, list):
        return set().union(*map(references, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    found = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return found | references(list(schema.values()))


def extract(document: dict[str, Any]) -> dict[str, Any]:
    """The notice, the operations ("GET /info") and the definitions."""
    operations = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = [answer for code, answer in operation["responses"].items() if str(code).startswith("2")]
            schema = next((answer["schema"] for answer in answers if "schema" in answer), None)
            if schema and schema.get("type") != "string" and not path.startswith(_LEFT_OUT):
                operations[f"{method.upper()} {path}"] = shape(schema)
    definitions: dict[str, Any] = {}
    wanted = references(operations)
    while missing := wanted - definitions.keys():
        for name in missing:
            definitions[name] = shape(document["definitions"][name])
        wanted |= references(definitions)
    return {"notice": NOTICE, "operations": operations, "definitions": dict(sorted(definitions.items()))}


def write(made: dict[str, Any]) -> str:
    """As JSON, an operation or a definition a line."""
    parts = [f'"notice": {json.dumps(made["notice"])}']
    for part in ("operations", "definitions"):
        lines = (f"  {json.dumps(name)}: {json.dumps(schema)}" for name, schema in made[part].items())
        parts.append(f'"{part}": {{\n' + ",\n".join(lines) + "\n}")
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    import yaml

    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(write(extract(yaml.safe_load(file))))
