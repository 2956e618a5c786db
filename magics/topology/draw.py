"""A plan as SVG. It carries its own surface, so it is legible on any page; dark when the reader's system is."""

from __future__ import annotations

from dosirak.magics.look import theme
from dosirak.magics.look.html import Markup, join, tag
from dosirak.magics.look.words import shorten
from dosirak.magics.topology.layout import BAR, Box, Inlet, Plan, Wire
from dosirak.magics.topology.model import Member

_STYLE = """
svg{--paper:#fbfbfd;--host:#f2f4f8;--edge:#c9d0da;--box:#ffffff;--ink:#1f2733;--faint:#66707f;--wire:#3b82c4;
--bar:#3b82c4;--onbar:#ffffff;--port:#b06a00;--flag:#fdf1dc}
@media(prefers-color-scheme:dark){svg{--paper:#15181d;--host:#1b1f26;--edge:#3a424e;--box:#232932;--ink:#e8ecf2;
--faint:#98a2b1;--wire:#62a8e5;--bar:#2f6da8;--onbar:#ffffff;--port:#f0b45a;--flag:#3a2d16}}
text{fill:var(--ink);font-family:SANS;font-size:12.5px}
.m{font-family:MONO;font-size:11px}.f{fill:var(--faint)}.s{font-size:11px}.b{font-weight:600}
.w{fill:none;stroke:var(--wire);stroke-width:1.6}.p{fill:none;stroke:var(--port);stroke-width:1.4}
.c{fill:none;stroke:var(--bar);stroke-width:5}
.plug{fill:var(--host);stroke:var(--wire);stroke-width:1.6}
""".replace("SANS", theme.SANS.replace("'", '"')).replace("MONO", theme.MONO.replace("'", '"'))

_BOXES = {
    "wired": "stroke-dasharray:5 3",
    "none": "stroke-dasharray:5 3",
    "joined": "stroke-dasharray:5 3",
    "host": "",
}


def svg(plan: Plan, described: str) -> str:
    """Return the SVG document. Parameters: `described` is what a screen reader says."""
    width, height = round(plan.width), round(plan.height)
    parts = [
        tag("title", described),
        tag("style", Markup(_STYLE)),
        _arrow(),
        _rect(0.5, 0.5, width - 1, height - 1, 10, "fill:var(--paper);stroke:var(--edge)"),
        *_host(plan),
        *[_wire(wire) for wire in plan.wires],
        *[bar for each in plan.bars for bar in _bar(plan, each.x, each.y, each.width, each)],
        *[_inlet(plan, inlet) for inlet in plan.inlets],
        *[_box(box) for box in plan.boxes],
        *[_ends(plan, wire) for wire in plan.wires],
        *[_port(inlet) for inlet in plan.inlets],
        *[_text(x, y, caption, "s f") for x, y, caption in plan.captions],
        *[_chip(*chip) for chip in plan.chips],
    ]
    size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
    return str(tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size))


def _arrow() -> Markup:
    path = tag("path", d="M0 0L7 3.5L0 7z", style="fill:var(--port)")
    size = {"markerWidth": "7", "markerHeight": "7", "refX": "6.5", "refY": "3.5", "orient": "auto"}
    return tag("defs", tag("marker", path, id="a", markerUnits="userSpaceOnUse", **size))


def _host(plan: Plan) -> list[Markup]:
    x, y, width, height = plan.host
    return [
        _rect(x, y, width, height, 10, "fill:var(--host);stroke:var(--edge);stroke-width:1.4"),
        _text(plan.text_x, y + 26, join(tag("tspan", "host", class_="f"), " ", tag("tspan", plan.title, class_="b"))),
    ]


def _bar(plan: Plan, x: float, y: float, width: float, bar: object) -> list[Markup]:
    bridge = bar.bridge  # type: ignore[attr-defined]
    right = x + width
    label = join(tag("tspan", bridge.device, class_="b"), tag("tspan", "   bridge", style="fill-opacity:.75"))
    address = f"{bridge.gateway}  ·  {bridge.subnet}" if bridge.gateway else bridge.subnet
    white = "fill:var(--onbar)"
    # The way out: from the bridge over the host's NAT to the world.
    out = f"M{right - 26:g} {y:g}V{plan.host[1]:g}"
    return [
        tag("path", d=out, class_="w", style="stroke-dasharray:3 3"),
        tag("circle", cx=f"{right - 26:g}", cy=f"{plan.host[1]:g}", r="4", class_="plug"),
        _text(right - 34, plan.host[1] + 26, "NAT to the outside", "s f", "end"),
        _rect(x, y, width, BAR, 7, "fill:var(--bar)"),
        _text(plan.text_x, y + BAR / 2 + 4.5, label, style=white),
        _text(right - 14, y + BAR / 2 + 4, address, "m", "end", white),
    ]


def _wire(wire: Wire) -> Markup:
    return tag("path", d=_bent(wire.x, wire.top, wire.y, wire.end), class_="w")


def _ends(plan: Plan, wire: Wire) -> Markup:
    plugs = [
        tag("circle", cx=f"{wire.x:g}", cy=f"{wire.top:g}", r="3.6", class_="plug"),
        tag("circle", cx=f"{wire.end:g}", cy=f"{wire.y:g}", r="3.6", class_="plug"),
    ]
    label = _text(wire.end + 2, wire.y - 24, f"{shorten(wire.label, 15)} ⇄ eth0", "m f")
    return tag("g", *plugs, label)


def _inlet(plan: Plan, inlet: Inlet) -> Markup:
    path = _bent(inlet.x, inlet.flag, inlet.y, inlet.end - 1)
    # A casing in the bar's colour lets it pass over the bridge, which it does not touch.
    over = [tag("path", d=f"M{inlet.x:g} {bar.y:g}v{BAR}", class_="c") for bar in plan.bars if bar.y < inlet.y]
    return tag("g", *over, tag("path", d=path, class_="p", marker_end="url(#a)"))


def _port(inlet: Inlet) -> Markup:
    width = 14 + 6.8 * len(inlet.outside)
    style = "fill:var(--flag);stroke:var(--port);stroke-width:1"
    flag = _rect(inlet.x - 1, inlet.flag - 9, width, 17, 5, style)
    return tag("g", flag, _text(inlet.x + 6, inlet.flag + 3.5, inlet.outside, "m", style="fill:var(--port)"))


def _bent(x: float, top: float, y: float, end: float) -> str:
    radius = 6
    return f"M{x:g} {top:g}V{y - radius:g}q0 {radius} {radius} {radius}H{end:g}"


def _box(box: Box) -> Markup:
    member = box.member
    border = f"fill:var(--box);stroke:{theme.state_colour(member.state)};stroke-width:1.4;{_BOXES[box.kind]}"
    parts = [
        _rect(box.x, box.y, box.width, box.height, 8, border),
        tag("circle", cx=f"{box.x + 17:g}", cy=f"{box.y + 18:g}", r="4.2", fill=theme.state_colour(member.state)),
        _text(box.x + 28, box.y + 22.5, shorten(member.name, 21), "b"),
    ]
    y = box.y + 41
    for kind, line in box.lines:
        style = {"mono": "m", "pid": "m f"}.get(kind, "s f")
        parts.append(_text(box.x + box.width - 12, y, shorten(line, 20 if _has_ports(box) else 29), style, "end"))
        y += 16
    for position, inside in enumerate(_insides(box)):
        parts.append(_text(box.x + 8, box.y + 46 + 18 * position, inside, "m", style="fill:var(--port)"))
    return tag("g", *parts)


def _has_ports(box: Box) -> bool:
    return any(port.public for port in box.member.ports)


def _insides(box: Box) -> list[str]:
    from dosirak.magics.topology.layout import _inside, _published

    return [_inside(group) for group in _published(box.member)]


def _chip(x: float, y: float, width: float, member: Member) -> Markup:
    code = 1 if member.status.startswith("Exited") and "(0)" not in member.status else 0
    colour = theme.state_colour(member.state, code)
    status = member.status or member.state
    name = tag("tspan", shorten(member.name, 24))
    return tag(
        "g",
        _rect(x, y, width, 22, 11, "fill:var(--box);stroke:var(--edge)"),
        tag("circle", cx=f"{x + 13:g}", cy=f"{y + 11:g}", r="3.6", fill=colour),
        _text(x + 22, y + 15, join(name, tag("tspan", f"  {shorten(status, 22)}", class_="f s")), "s"),
    )


def _rect(x: float, y: float, width: float, height: float, radius: float, style: str) -> Markup:
    place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}", "rx": f"{radius:g}"}
    return tag("rect", style=style, **place)


def _text(x: float, y: float, text: object, kind: str = "", anchor: str = "start", style: str = "") -> Markup:
    more = {"class_": kind} if kind else {}
    if style:
        more["style"] = style
    return tag("text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, xml_space="preserve", **more)
