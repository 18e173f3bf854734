"""The OpenAPI document as one HTML page, for /docs. It has no script and loads nothing: it works offline."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --accent: #7aa7ff; } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
h3 { margin-top: 2rem; } a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
code, pre { font: .875em/1.5 ui-monospace, monospace; }
code { background: var(--soft); padding: .1em .35em; border-radius: 4px; }
pre { background: var(--soft); padding: .9rem 1rem; border-radius: 8px; overflow-x: auto; }
pre code { background: none; padding: 0; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); }
.method { display: inline-block; min-width: 3.2rem; font: 600 .8rem ui-monospace, monospace; color: var(--accent); }
.required { color: #c2410c; font-size: .8em; } .muted { opacity: .75; }
"""

_EXAMPLE = """\
curl -N %(origin)s/v1/chat/completions -H 'Content-Type: application/json' -d '{
  "messages": [{"role": "user", "content": "Hello!"}],
  "stream": true
}'"""


def docs_page(document: dict[str, Any], origin: str) -> str:
    """Returns the HTML of an OpenAPI document. `origin` (http://host:port) is for the example."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    example = escape(_EXAMPLE % {"origin": origin}, quote=False)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>llmcore</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
            f'<h1>{escape(info["title"])} <span class="muted">{escape(info["version"])}</span></h1>',
            f"<p>{_inline_html(info['description'])} Machines read <a href='/openapi.json'>/openapi.json</a>.</p>",
            f"<pre><code>{example}</code></pre>",
            "<h2>Endpoints</h2>",
            *(_operation_section(*each) for each in operations),
            "<h2>Types</h2>",
            *(_type_section(name, schema) for name, schema in document["components"]["schemas"].items()),
            "</body></html>",
        ]
    )


def _inline_html(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))


def _operation_section(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f'<h3><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h3>']
    parts.append(f"<p>{_inline_html(operation['summary'])}.</p>")
    for each in operation.get("parameters", ()):
        parts.append(f"<p>{_parameter(each)}</p>")
    if "requestBody" in operation:
        parts.append(f"<p>Body: {_content(operation['requestBody']['content'])}</p>")
    rows = "".join(
        f"<tr><td>{status}</td><td>{_inline_html(answer['description'])}</td>"
        f"<td>{_content(answer.get('content', {}))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return "".join(parts) + f"<table><tr><th>status</th><th>meaning</th><th>body</th></tr>{rows}</table>"


def _parameter(parameter: dict[str, Any]) -> str:
    about = f": {_inline_html(parameter['description'])}" if "description" in parameter else ""
    where = {"path": "in the path", "query": "in the query", "header": "as a header"}[parameter["in"]]
    return f"<code>{escape(parameter['name'])}</code> {where}, {_type_name(parameter['schema'])}{about}"


def _content(content: dict[str, Any]) -> str:
    shown = [
        f"{_type_name(each['schema'])} <span class='muted'>{escape(media)}</span>"
        + (f"<br>{_inline_html(each['schema']['description'])}" if "description" in each["schema"] else "")
        for media, each in content.items()
    ]
    return "<br>".join(shown)


def _type_section(name: str, schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{_required(field, schema)}</td><td>{_type_name(each)}</td>"
        f"<td>{_inline_html(_description(each))}</td></tr>"
        for field, each in schema.get("properties", {}).items()
    )
    about = f"<p>{_inline_html(schema['description'])}</p>" if "description" in schema else ""
    heading = f'<h3 id="{escape(name)}">{escape(name)}</h3>{about}'
    return f"{heading}<table><tr><th>field</th><th>type</th><th>meaning</th></tr>{rows}</table>"


def _required(field: str, schema: dict[str, Any]) -> str:
    return " <span class='required'>required</span>" if field in schema.get("required", ()) else ""


def _description(schema: dict[str, Any]) -> str:
    """Returns the description of a field, or of its one alternative that is not null."""
    found = [schema.get("description", ""), *(_description(each) for each in schema.get("anyOf", ()))]
    return "; ".join(each for each in found if each)


def _type_name(schema: dict[str, Any]) -> str:
    """Returns the type of a schema in a few words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type_name(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(each), quote=False)}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type_name(schema.get('items', {}))}"
    if schema.get("type") == "object" and "additionalProperties" in schema:
        return f"map to {_type_name(schema['additionalProperties'])}"
    return escape(str(schema.get("type", "anything"))) + _value_range(schema)


def _value_range(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    above = "above " if "exclusiveMinimum" in schema else ""
    return f" <span class='muted'>{above}{low} to {high}</span>" if low is not None and high is not None else ""
