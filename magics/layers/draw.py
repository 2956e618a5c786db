"""The layers as SVG: a bar each, as long as the layer is large, its wasted part hatched; the topmost on top."""

from __future__ import annotations

from dosirak.magics.layers.model import Layer, Layers
from dosirak.magics.look import theme, words
from dosirak.magics.look.html import Markup, join, tag

_STYLE = """
svg{--paper:#fbfbfd;--edge:#c9d0da;--ink:#1f2733;--faint:#66707f;--bar:#3b82c4;--waste:#d1495b;--rail:#eceff4}
@media(prefers-color-scheme:dark){svg{--paper:#15181d;--edge:#3a424e;--ink:#e8ecf2;--faint:#98a2b1;--bar:#62a8e5;
--waste:#e8778a;--rail:#232932}}
text{fill:var(--ink);font-family:SANS;font-size:12.5px}
.m{font-family:MONO;font-size:11px}.f{fill:var(--faint)}.b{font-weight:600}.d{fill:var(--waste)}
""".replace("SANS", theme.SANS.replace("'", '"')).replace("MONO", theme.MONO.replace("'", '"'))

_WIDTH, _ROW, _TOP, _LEFT, _BAR = 760, 40, 58, 20, 250
_SHOWN = 40


def svg(image: Layers, described: str) -> str:
    """Return the SVG document. Parameters: `described` is what a screen reader says."""
    shown = image.layers[-_SHOWN:]
    below = len(image.layers) - len(shown)
    height = _TOP + _ROW * len(shown) + (22 if below else 0) + 14
    largest = max([layer.size for layer in shown] or [1]) or 1
    rows = [_row(layer, _TOP + _ROW * place, largest) for place, layer in enumerate(reversed(shown))]
    parts = [
        tag("title", described),
        tag("style", Markup(_STYLE)),
        _rect(0.5, 0.5, _WIDTH - 1, height - 1, "fill:var(--paper);stroke:var(--edge)", 10),
        _text(
            _LEFT, 27, join(tag("tspan", words.shorten(image.image, 46), class_="b"), f"   {words.size(image.total)}")
        ),
        _text(_WIDTH - _LEFT, 27, _verdict(image), anchor="end"),
        _text(_LEFT, 45, "the topmost layer first; red is what upper layers hide", "m f"),
        *rows,
    ]
    if below:
        parts.append(_text(_LEFT, height - 14, f"… {below} more below", "f"))
    size = {"width": str(_WIDTH), "height": str(height), "viewBox": f"0 0 {_WIDTH} {height}"}
    return str(tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size))


def _verdict(image: Layers) -> Markup:
    wasted = tag("tspan", f"{words.size(image.wasted)} wasted", class_="d" if image.wasted else "f")
    return join(f"{image.efficiency:.1%} seen by a container   ", wasted)


def _row(layer: Layer, y: float, largest: int) -> Markup:
    length = max(2.0, _BAR * layer.size / largest) if layer.size else 0.0
    wasted = length * layer.wasted / layer.size if layer.size else 0.0
    left, right = _LEFT + 26, _WIDTH - _LEFT
    counts = f"+{layer.added:,}  ~{layer.changed:,}  −{layer.deleted:,}"
    return tag(
        "g",
        _text(_LEFT, y + 17, layer.number, "m f"),
        _rect(left, y + 6, _BAR, 15, "fill:var(--rail)", 4),
        _rect(left, y + 6, length, 15, "fill:var(--bar)", 4),
        _rect(left + length - wasted, y + 6, wasted, 15, "fill:var(--waste)", 4) if wasted else "",
        _text(left + _BAR + 14, y + 18, words.size(layer.size), "b"),
        _text(right, y + 18, counts, "m f", "end"),
        _text(left, y + 34, words.shorten(layer.instruction or layer.digest[7:19], 100), "m f"),
    )


def _rect(x: float, y: float, width: float, height: float, style: str, radius: int) -> Markup:
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}", "rx": f"{radius}"}
    return tag("rect", style=style, **place)


def _text(x: float, y: float, text: object, kind: str = "", anchor: str = "start") -> Markup:
    more = {"class_": kind} if kind else {}
    return tag("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, xml_space="preserve", **more)
