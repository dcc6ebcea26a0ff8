"""Lays a result out as a part of an HTML page: what notebooks show. The template escapes every text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from kvmtrace.report import histogram
from kvmtrace.report.blocks import Facts, Histogram, Sentences, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jinja2 import Template

    from kvmtrace.report.blocks import Block

_WIDTH = 90  # of a histogram, in characters
# Notebooks bring their own colours, light or dark: the fragment sets none.
_TEMPLATE = """
{%- macro row(tag, cells, names) -%}
<tr>{% for cell in cells -%}
<{{ tag }} style="padding: 0 0.5em; text-align: {{ 'left' if loop.index0 < names else 'right' }}">{{ cell }}</{{ tag }}>
{%- endfor %}</tr>
{%- endmacro -%}
<div class="kvmtrace">
{%- for kind, block in blocks %}
{% if kind == "facts" -%}
<h4>{{ block.title }}</h4>
<table>{% for pair in block.pairs %}{{ row("td", pair, 2) }}{% endfor %}</table>
{%- elif kind == "table" -%}
<h4>{{ block.title }}</h4>
<div style="overflow-x: auto"><table>
<thead>{{ row("th", block.headings, block.names) }}</thead>
<tbody>{% for cells in block.rows %}{{ row("td", cells, block.names) }}
{% endfor %}</tbody>
</table></div>
{%- elif kind == "sentences" -%}
{% for sentence in block.sentences -%}
<p>{% if block.warning %}<strong>Warning:</strong> {% endif %}{{ sentence }}</p>
{% endfor %}
{%- else -%}
<h4>{{ block.title }}</h4>
<pre>{{ block.drawn }}</pre>
{%- endif %}
{%- endfor %}
</div>
"""


def lay_out(blocks: Iterable[Block]) -> str:
    """Return blocks as HTML, one after the other."""
    return _template().render(blocks=[_told(block) for block in blocks])


def _told(block: Block) -> tuple[str, Any]:
    match block:
        case Facts():
            return "facts", block
        case Table():
            return "table", block
        case Sentences():
            return "sentences", block
        case Histogram():
            return "histogram", {
                "title": block.title,
                "drawn": "\n".join(histogram.draw(block.bins, _WIDTH, unicode=True)),
            }


@cache
def _template() -> Template:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(_TEMPLATE)
