"""The 20 classes of ``shapes``: what makes a star a star, whatever its size, place or pose.

Each class is a function ``form(draw)`` that chooses an instance's proportions and returns ``shape(x, y)``. That
maps object coordinates (x right, y down, the object within about -1..1) to ``(distance, parts)``: the signed
distance to the outline, negative inside, and a dict of the same for parts of the surface, in the order in which they
are painted. A part's name is that of its colours in ``shapes_surfaces.FAMILIES``; ``dark`` darkens what is there.
"""

import numpy as np

from .shapes_exact import cos_sin, turns_of


def circle(x, y, cx, cy, radius):
    return np.sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy)) - radius


def box(x, y, cx, cy, half_width, half_height, corner=0.0):
    """A rectangle with corners rounded by ``corner``."""
    dx, dy = np.abs(x - cx) - (half_width - corner), np.abs(y - cy) - (half_height - corner)
    ox, oy = np.maximum(dx, 0.0), np.maximum(dy, 0.0)
    return np.sqrt(ox * ox + oy * oy) + np.minimum(np.maximum(dx, dy), 0.0) - corner


def bar(x, y, ax, ay, bx, by, radius):
    """A straight bar from a to b with round ends."""
    ex, ey = bx - ax, by - ay
    t = ((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)
    t = np.minimum(np.maximum(t, 0.0), 1.0)
    return circle(x - ex * t, y - ey * t, ax, ay, radius)


def polygon(x, y, corners):
    """Any simple polygon."""
    nearest, inside = np.inf, False
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
        t = np.minimum(np.maximum((wx * ex + wy * ey) / (ex * ex + ey * ey), 0.0), 1.0)
        px, py = wx - ex * t, wy - ey * t
        nearest = np.minimum(nearest, px * px + py * py)
        if ay != by:                                       # even-odd rule: count edges to the right
            inside = inside ^ (((y >= ay) != (y >= by)) & (x < ax + wy * (ex / ey)))
    return np.where(inside, -1.0, 1.0) * np.sqrt(nearest)


def symmetric(x, y, half):
    """A polygon mirrored at x = 0, given by its right half from top to bottom."""
    return polygon(x, y, half + [(-px, py) for px, py in reversed(half) if px])


def wedge(x, y, count):
    """Turns every point into the first of ``count`` equal sectors, which lies around the x axis."""
    turns = turns_of(x, y) * count
    c, s = cos_sin((turns - np.floor(turns + 0.5)) / count)
    radius = np.sqrt(x * x + y * y)
    return radius * c, radius * s


def union(first, *others):
    for other in others:
        first = np.minimum(first, other)
    return first


def without(shape, hole):
    return np.maximum(shape, -hole)


def star(draw):
    count, inner = draw.pick((5, 5, 6)), draw.between(0.40, 0.52)
    c, s = cos_sin(0.5 / count)
    nx, ny = inner * s, 1 - inner * c                       # normal of the edge from tip to notch
    norm = np.sqrt(nx * nx + ny * ny)

    def shape(x, y):
        wx, wy = wedge(y, x, count)                         # a tip points down; rotation is drawn elsewhere
        return ((wx - 1) * nx + np.abs(wy) * ny) / norm, {}
    return shape


def key(draw):
    bow, hole, shaft = draw.between(0.40, 0.48), draw.between(0.16, 0.22), draw.between(0.14, 0.18)
    teeth, long = draw.integer(2, 3), draw.between(0.28, 0.38)

    def shape(x, y):
        d = union(circle(x, y, 0, -0.6, bow), bar(x, y, 0, -0.3, 0, 0.9, shaft))
        for tooth in range(teeth):
            d = union(d, box(x, y, long / 2 + 0.04, 0.86 - 0.27 * tooth, long / 2 + 0.04, 0.09, 0.02))
        return without(d, circle(x, y, 0, -0.62, hole)), {}
    return shape


def mug(draw):
    half, tall, grip = draw.between(0.48, 0.6), draw.between(0.5, 0.68), draw.between(0.085, 0.11)
    reach = draw.between(0.34, 0.42)

    def oval(x, y, cy, width):                              # three times as wide as high: a rim seen from above
        return (np.sqrt((x + 0.2) * (x + 0.2) + 9 * (y - cy) * (y - cy)) - width) / 3

    def shape(x, y):
        handle = np.abs(box(x, y, half - 0.2, 0.02, reach, 0.36, 0.28)) - grip
        handle = np.maximum(handle, half - 0.25 - x)
        body = union(box(x, y, -0.2, 0, half, tall), oval(x, y, -tall, half), oval(x, y, tall, half))
        return union(body, handle), {"dark": oval(x, y, -tall, half - 0.09)}
    return shape


def ladder(draw):
    rungs, half, rail = draw.integer(3, 5), draw.between(0.42, 0.54), draw.between(0.12, 0.15)

    def shape(x, y):
        d = bar(np.abs(x), y, half, -1, half, 1, rail)
        for rung in range(rungs):
            place = -0.8 + 1.6 * rung / (rungs - 1)
            d = union(d, box(x, y, 0, place, half, 0.11))
        return d, {}
    return shape


def leaf(draw):
    half = draw.between(0.40, 0.62)
    radius = (0.8 * 0.8 + half * half) / (2 * half)         # of the two arcs that meet in the tips

    def shape(x, y):
        blade = circle(np.abs(x), y, half - radius, -0.15, radius)
        stem = bar(x, y, 0, 0.4, 0.06, 1.0, 0.065)
        along = y + 0.8 * np.abs(x)
        veins = np.abs(along * 3.6 - np.floor(along * 3.6) - 0.5) / 4.6 - 0.02
        marks = np.maximum(union(veins, np.abs(x) - 0.03), blade + 0.06)
        return union(blade, stem), {"dark": marks}
    return shape


def tree(draw):
    spread, trunk = draw.between(0.60, 0.78), draw.between(0.11, 0.16)
    half = [(0.0, -1.0), (spread * 0.62, -0.42), (spread * 0.3, -0.42), (spread * 0.84, 0.1),
            (spread * 0.4, 0.1), (spread, 0.64), (trunk, 0.64), (trunk, 1.0)]
    return lambda x, y: (symmetric(x, y, half), {"trunk": box(x, y, 0, 0.86, trunk + 0.1, 0.22)})


def anchor(draw):
    stock, arm, thick = draw.between(0.38, 0.5), draw.between(0.62, 0.74), draw.between(0.13, 0.16)

    def shape(x, y):
        ax = np.abs(x)
        loop = np.abs(circle(x, y, 0, -0.76, 0.19)) - thick * 0.72
        arc = np.maximum(np.abs(circle(x, y, 0, 0.12, arm)) - thick, 0.28 - y)
        fluke = polygon(ax, y, [(arm - 0.3, 0.32), (arm + 0.06, -0.1), (arm + 0.24, 0.42)])
        return union(loop, bar(x, y, 0, -0.55, 0, 0.8, thick), bar(x, y, -stock, -0.4, stock, -0.4, thick * 0.9),
                     arc, fluke), {}
    return shape


def comb(draw):
    teeth, back, long = draw.integer(5, 7), draw.between(0.13, 0.19), draw.between(0.40, 0.56)
    pitch = 2 / teeth

    def shape(x, y):
        nearest = np.minimum(np.maximum(np.floor((x + 1) / pitch), 0), teeth - 1)
        local = x + 1 - (nearest + 0.5) * pitch
        tooth = box(local, y, 0, long / 2 - 0.1, pitch * 0.29, long / 2 + 0.2, pitch * 0.14)
        return union(box(x, y, 0, -0.32, 1, back, 0.08), tooth), {}
    return shape


def heart(draw):
    tall = draw.between(1.5, 1.95)

    def shape(x, y):
        px, py = np.abs(x) * 0.62, 0.56 - y / tall          # upright, the tip in (0, 0), the lobes' centre above
        lobe = circle(px, py, 0.25, 0.75, 0.35355339059327373)
        along = np.maximum(px + py, 0.0) * 0.5              # foot on the diagonal edge from tip to lobe
        edge = np.minimum(circle(px, py, 0, 1, 0), circle(px, py, along, along, 0))
        return np.where(px + py > 1, lobe, np.where(px > py, edge, -edge)), {}
    return shape


def fish(draw):
    fat, tail, fin = draw.between(0.36, 0.48), draw.between(0.34, 0.48), draw.between(0.2, 0.32)
    radius = (0.75 * 0.75 + fat * fat) / (2 * fat)

    def shape(x, y):
        body = circle(x, np.abs(y), -0.25, fat - radius, radius)
        fan = symmetric(y, x, [(0.0, 0.25), (tail, 1.0), (0.0, 0.78)])
        back = polygon(x, y, [(-0.5, -0.2), (-0.1, -fat - fin), (0.2, -0.1)])
        gill = np.maximum(np.abs(circle(x, y, -0.85, 0, 0.42)) - 0.03, body + 0.05)
        fins, eye = np.maximum(union(fan, back), -0.03 - body), circle(x, y, -0.66, -0.1, 0.085)
        return union(body, fan, back), {"fin": fins, "dark": union(eye, gill)}
    return shape


def hourglass(draw):
    half, neck = draw.between(0.48, 0.64), draw.between(0.07, 0.12)

    def shape(x, y):
        ay = np.abs(y)
        bulb = symmetric(x, ay, [(neck, -0.2), (neck, 0.06), (half * 0.9, 0.6), (half * 0.9, 0.9)])
        plate = box(x, ay, 0, 0.9, half + 0.1, 0.1, 0.05)
        sand = np.maximum(bulb + 0.09, 0.5 - y)
        return union(bulb, plate), {"sand": sand, "frame": plate}
    return shape


def house(draw):
    half, eaves, chimney = draw.between(0.56, 0.7), draw.between(0.1, 0.2), draw.pick((-1, 1))
    door = draw.between(-0.3, 0.3)

    def shape(x, y):
        roof = polygon(x, y, [(0, -0.95), (half + eaves, -0.18), (-half - eaves, -0.18)])
        walls = box(x, y, 0, 0.34, half, 0.56)
        stack = box(x, y, chimney * half * 0.62, -0.62, 0.12, 0.34)
        window = box(x, y, door - 0.45 if door > 0 else door + 0.45, 0.22, 0.15, 0.15)
        return union(roof, walls, stack), {"roof": roof, "door": union(box(x, y, door, 0.6, 0.15, 0.3), window)}
    return shape


def gear(draw):
    teeth, hole, tooth = draw.integer(7, 10), draw.between(0.22, 0.36), draw.between(0.7, 0.9)

    def shape(x, y):
        wx, wy = wedge(x, y, teeth)
        half = 1.57 * tooth / teeth * 0.78
        cog = np.maximum(wx - 1, (np.abs(wy) - half + (wx - 0.85) * 0.18) / 1.016)
        return without(union(circle(x, y, 0, 0, 0.74), cog), circle(x, y, 0, 0, hole)), {}
    return shape


def chain(draw):
    links, half, wire = draw.integer(3, 4), draw.between(0.26, 0.32), draw.between(0.095, 0.115)
    long = 1 / links

    def shape(x, y):
        d, joints = np.inf, np.inf
        for link in range(links):
            place = -1 + (2 * link + 1) * long
            loop = np.abs(box(x, y, 0, place, half, long + 0.06, half)) - wire
            if link:
                joints = union(joints, np.maximum(np.abs(loop) - 0.025, d))
            d = union(d, loop)
        return d, {"dark": joints}
    return shape


def mushroom(draw):
    cap, foot, tall = draw.between(0.76, 0.9), draw.between(0.2, 0.29), draw.between(0.58, 0.76)
    spots = [(draw.between(-0.5, -0.3), -0.2), (draw.between(-0.1, 0.1), -0.42), (draw.between(0.3, 0.5), -0.2)]

    def shape(x, y):
        top = np.maximum(circle(x / cap, y / tall, 0, 0, 1) * tall, y - 0.06)
        stem = union(box(x, y, 0, 0.45, foot * 0.8, 0.5, 0.1), box(x, y, 0, 0.84, foot * 1.2, 0.13, 0.13))
        dots = union(*(circle(x, y, px, py * tall / 0.7, 0.11) for px, py in spots))
        return union(top, stem), {"stem": np.maximum(stem, -0.02 - top), "dots": np.maximum(dots, top + 0.03)}
    return shape


def doughnut(draw):
    width, wavy, count = draw.between(0.25, 0.3), draw.between(0.02, 0.05), draw.integer(5, 8)

    def shape(x, y):
        ring = circle(x, y, 0, 0, 1 - width)
        ripple = wavy * cos_sin(turns_of(x, y) * count)[0]
        return np.abs(ring) - width, {"icing": np.abs(ring) - width * 0.72 - ripple}
    return shape


def lollipop(draw):
    disc, turns, stick = draw.between(0.56, 0.64), draw.between(2.0, 3.0), draw.between(0.07, 0.09)
    pitch = disc / turns

    def shape(x, y):
        angle, radius = turns_of(x, y + 1 - disc), np.sqrt(x * x + (y + 1 - disc) * (y + 1 - disc))
        lap = radius / pitch - angle
        swirl = (np.abs(lap - np.floor(lap) - 0.5) - 0.25) * pitch
        sweet, handle = circle(x, y, 0, disc - 1, disc), bar(x, y, 0, 0, 0, 1, stick)
        return union(sweet, handle), {"swirl": np.maximum(swirl, sweet), "stick": np.maximum(handle, -sweet)}
    return shape


def pear(draw):
    belly, neck, lean = draw.between(0.56, 0.64), draw.between(0.28, 0.36), draw.between(-0.12, 0.12)

    def shape(x, y):
        low, high = circle(x, y, 0, 1 - belly, belly), circle(x, y, lean, -0.38, neck)
        waist = polygon(x, y, [(lean - neck * 0.97, -0.3), (lean + neck * 0.97, -0.3), (belly * 0.93, 0.75 - belly),
                               (-belly * 0.93, 0.75 - belly)])
        stalk = bar(x, y, lean, -0.6, lean + 0.1, -1.0, 0.06)
        blade = np.maximum(circle(x, y, lean + 0.32, -1.02, 0.3), circle(x, y, lean + 0.32, -0.66, 0.3))
        return union(low, high, waist, stalk, blade), {"stalk": np.maximum(stalk, -high), "leaf": blade}
    return shape


def carrot(draw):
    half, bent, rings = draw.between(0.24, 0.32), draw.between(-0.15, 0.15), draw.integer(3, 5)
    tuft = [(draw.between(-0.3, 0.3) + 0.28 * k, draw.between(-1.02, -0.9)) for k in (-1, 0, 1)]

    def shape(x, y):
        half_root = [(0.0, -0.5), (half * 0.75, -0.48), (half, -0.36), (half * 0.62, 0.3), (0.03, 1.0)]
        root = symmetric(x - bent * y * y, y, half_root)
        green = union(*(bar(x, y, 0, -0.45, px, py, 0.085) for px, py in tuft))
        along = (y + 0.3 + 0.15 * x) * rings * 0.8
        lines = np.maximum(np.abs(along - np.floor(along) - 0.5) / rings - 0.018, np.abs(x - bent * y * y) - 0.5 * half)
        return union(root, green), {"green": np.maximum(green, -0.02 - root), "dark": np.maximum(lines, root + 0.02)}
    return shape


def banana(draw):
    bite, shift = draw.between(0.84, 0.94), draw.between(0.46, 0.56)
    tip = draw.between(0.74, 0.8)

    def shape(x, y):
        body = without(circle(x, y, 0.3, 0, 1), circle(x, y, 0.3 + shift, 0, bite))
        stalk = bar(x, y, 0.44, -0.86, 0.72, -1.0, 0.075)
        ridge = np.maximum(np.abs(circle(x, y, 0.3 + 0.5 * shift, 0, 0.5 * (1 + bite))) - 0.02, body + 0.05)
        ends = np.maximum(body, tip - np.abs(y))
        return union(np.maximum(body, np.abs(y) - 0.93), stalk), {"ends": union(ends, stalk), "dark": ridge}
    return shape


CLASSES = (star, key, mug, ladder, leaf,                    # fold 0; each fold mixes solid, holed and thin forms
           doughnut, tree, anchor, comb, heart,             # fold 1
           pear, fish, lollipop, hourglass, house,          # fold 2
           carrot, gear, chain, mushroom, banana)           # fold 3
