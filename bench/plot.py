# SPDX-License-Identifier: Apache-2.0
"""A plot of lines, as SVG: what a call costs, against how many others are suspended."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 50, 60
COLOURS = ["#1f5fa8", "#c2571a", "#2a7f4f", "#7a4fa0"]


def nice_ceiling(value):
    """The next of 1, 2, 5, 10, 20, ... that is not less."""
    power = 10 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * 0.999999)


def text(x, y, words, anchor="middle", **more):
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {place}{attributes}>{escape(words)}</text>"


def line(points, colour, **more):
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{where}" fill="none" stroke="{colour}"{attributes}/>'


def draw_grid(across, up, places, top, y_title, x_title):
    for i in range(6):
        y = up(top * i / 5)
        yield line([(LEFT, y), (WIDTH - RIGHT, y)], "#ddd")
        yield text(LEFT - 8, y + 4, f"{top * i / 5:g}", "end")
    for place in places:
        yield text(across(place), HEIGHT - BOTTOM + 20, f"{place:,}")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15, x_title)
    yield text(18, (TOP + HEIGHT - BOTTOM) / 2, y_title,
               transform=f"rotate(-90 18 {(TOP + HEIGHT - BOTTOM) / 2:.1f})")


def draw_lines(across, up, lines):
    labels = []
    for colour, (name, points) in zip(COLOURS, lines.items()):
        for place, figure in points.items():
            x = across(place)
            yield line([(x, up(figure["min"])), (x, up(figure["max"]))], colour, stroke_opacity=0.4,
                       stroke_width=6)
            yield f'<circle cx="{x:.1f}" cy="{up(figure["median"]):.1f}" r="4" fill="{colour}"/>'
        yield line([(across(p), up(f["median"])) for p, f in points.items()], colour,
                   stroke_width=2)
        labels.append([up(points[max(points)]["median"]) + 4, name, colour])
    labels.sort()
    for i, (y, name, colour) in enumerate(labels):  # apart, where lines end close together
        if i and y < labels[i - 1][0] + 16:
            labels[i][0] = labels[i - 1][0] + 16
        yield text(WIDTH - RIGHT + 12, labels[i][0], name, "start", fill=colour)


def plot(title, x_title, y_title, lines):
    """`lines`: name -> {number from 0: {"median", "min", "max"}}. The x axis goes by powers of ten,
    with 0 a step before the first."""
    places = sorted({place for points in lines.values() for place in points})
    logs = {place: math.log10(place) for place in places if place > 0}
    first = min(logs.values(), default=1)
    logs[0] = first - 1
    span = max(logs[place] for place in places) - logs[places[0]] or 1
    greatest = max(f["max"] for points in lines.values() for f in points.values())
    top = nice_ceiling(greatest or 1)

    def across(place):
        return LEFT + 25 + (logs[place] - logs[places[0]]) / span * (WIDTH - LEFT - RIGHT - 50)

    def up(value):
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
             f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
             text(LEFT, 28, title, "start", font_size=15),
             *draw_grid(across, up, places, top, y_title, x_title),
             *draw_lines(across, up, lines), "</svg>"]
    return "\n".join(parts) + "\n"
