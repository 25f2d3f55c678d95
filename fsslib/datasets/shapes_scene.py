"""One image of ``shapes``: who stands where, and how it is painted."""

import numpy as np

from .shapes_exact import Draw, box_blur, cos_sin, hashed, smooth
from .shapes_forms import CLASSES
from .shapes_surfaces import Material, background

SIZES = ((200, 200), (184, 216), (216, 184), (192, 208), (208, 192))
COUNTS = (2, 3, 3, 4, 4)                                    # objects: a fifth two, two fifths three, two fifths four
SHARES = {2: (0.13, 0.26), 3: (0.10, 0.17), 4: (0.08, 0.12)}         # of the picture, by the number of objects
LEAST, ALIKE = 0.06, 1.25                                   # smallest share; largest over smallest, before occlusion
VISIBLE, VISIBLE_SHARE = 0.67, 0.045                        # of the object, and of the picture, after occlusion
COARSE = 4                                                  # pixels a side of a cell when places are tried


class Piece:
    """One object: a form, its pose, its material."""

    def __init__(self, draw, label):
        form = CLASSES[label - 1]
        self.label, self.shape, self.material = label, form(draw), Material(draw, form.__name__)
        self.c, self.s = (float(v) for v in cos_sin((draw.between(0, 1) + draw.between(0, 1) - 1) / 5))
        self.mirror, self.aspect = draw.pick((-1, 1)), draw.between(0.82, 1.22)
        self.taper, self.bend, self.kink = (draw.between(-v, v) for v in (0.16, 0.28, 0.28))
        self.scale, self.x, self.y = 1.0, 0.0, 0.0
        grid = (np.arange(81) - 40.0) / 20                  # -2..2: area and extent of the posed form
        inside = self.distance(grid[None], grid[:, None])[0] < 0
        self.area = int(inside.sum()) / 400
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        self.extent = [float(grid[i]) for i in (columns[0], columns[-1], rows[0], rows[-1])]

    def local(self, x, y):
        """Object coordinates of image points."""
        dx, dy = (x - self.x) / self.scale, (y - self.y) / self.scale
        u = (dx * self.c + dy * self.s) * (self.mirror / self.aspect)
        v = (dy * self.c - dx * self.s) * self.aspect
        return u * (1 + self.taper * v) + self.bend * (v * v - 0.35) + self.kink * v * (v * v - 0.5), v

    def distance(self, x, y):
        """Signed distance in object units, that of the parts, and the object coordinates."""
        u, v = self.local(x, y)
        return *self.shape(u, v), u, v

    def resize(self, share, height, width):
        """Takes ``share`` of the image, or as much of it as the image's sides allow."""
        x0, x1, y0, y1 = self.extent
        fit = min(0.94 * width / (x1 - x0), 0.94 * height / (y1 - y0))
        self.scale = min(float(np.sqrt(share * height * width / self.area)), fit)

    def move(self, draw, height, width):
        """To a random place inside the picture."""
        x0, x1, y0, y1 = (value * self.scale for value in self.extent)
        self.x, self.y = draw.between(2 - x0, width - 2 - x1), draw.between(2 - y0, height - 2 - y1)

    def window(self, height, width):
        """The part of the image that holds the piece: top, bottom, left, right."""
        x0, x1, y0, y1 = self.extent
        reach = 0.08 * self.scale + 3
        return (max(int(self.y + y0 * self.scale - reach), 0), min(int(self.y + y1 * self.scale + reach) + 1, height),
                max(int(self.x + x0 * self.scale - reach), 0), min(int(self.x + x1 * self.scale + reach) + 1, width))


def choose_classes(draw, index):
    """Two to four different class ids, the first by turns; the second in half of the pictures of the same fold, so that
    novel things stand beside novel ones."""
    count, first = draw.pick(COUNTS), index % len(CLASSES)
    fold = first // 5 * 5
    chosen = [first + 1]
    while len(chosen) < count:
        near = len(chosen) == 1 and draw.chance(0.5)
        label = draw.integer(fold + 1, fold + 5) if near else draw.integer(1, len(CLASSES))
        if label not in chosen:
            chosen.append(label)
    return chosen


def arrange(draw, index, height, width):
    """The objects of a picture in painting order, of like size, each visible enough."""
    objects = [Piece(draw, label) for label in choose_classes(draw, index)]
    low, high = SHARES[len(objects)]
    share = draw.between(low, high)
    shares = [share * draw.between(1, ALIKE) for _ in objects]
    trial = 0
    while True:
        order = [objects[i] for i in _shuffled(draw, len(objects))]
        for piece, part in zip(objects, shares):
            piece.resize(part, height, width)
            piece.move(draw, height, width)
        if _visible_enough(order, height, width, 0.9 if trial < 6 else VISIBLE):        # mostly apart
            return order
        trial += 1
        if trial % 12 == 0:                                 # too crowded: all a little smaller
            shares = [max(0.94 * part, LEAST) for part in shares]


def _shuffled(draw, count):
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = draw.integer(0, i)
        order[i], order[j] = order[j], order[i]
    return order


def _visible_enough(pieces, height, width, least):
    """Whether each object keeps the share ``least`` of itself in sight, judged on a grid of coarse cells."""
    y, x = np.arange(COARSE / 2, height, COARSE)[:, None], np.arange(COARSE / 2, width, COARSE)[None]
    owner = np.full((y.size, x.size), -1)
    for number, piece in enumerate(pieces):
        owner[piece.distance(x, y)[0] < 0] = number
    for number, piece in enumerate(pieces):
        seen = int((owner == number).sum()) * COARSE * COARSE
        whole = piece.area * piece.scale * piece.scale
        if seen < max(least * whole, VISIBLE_SHARE * height * width):
            return False
    return True


class Light:
    """One lamp an image: direction, colour, and how much comes from everywhere."""

    def __init__(self, draw):
        c, s = (float(v) for v in cos_sin(draw.between(0, 1)))
        height = draw.between(0.7, 1.4)
        norm = float(np.sqrt(1 + height * height))
        self.x, self.y, self.z = c / norm, s / norm, height / norm
        self.ambient, warm = draw.between(0.35, 0.6), draw.between(-0.08, 0.08)
        self.colour = np.array([1 + warm, 1.0, 1 - warm])
        self.shadow, self.blur = draw.between(0.3, 0.6), draw.integer(1, 4)

    def shade(self, nx, ny, norm):
        """Brightness and mirror reflection of a surface with normal (nx, ny, 1) / norm."""
        diffuse = np.maximum((nx * self.x + ny * self.y + self.z) / norm, 0.0)
        hz = self.z + 1                                     # halfway between lamp and eye
        half = float(np.sqrt(self.x * self.x + self.y * self.y + hz * hz))
        shine = np.maximum((nx * self.x + ny * self.y + hz) / (norm * half), 0.0)
        for _ in range(5):                                  # to the power 32
            shine = shine * shine
        return self.ambient + (1.15 - self.ambient) * diffuse / self.z, shine


def halve(values):
    """Mean of each 2x2 block; the order of additions is fixed."""
    return (values[::2, ::2] + values[1::2, ::2] + (values[::2, 1::2] + values[1::2, 1::2])) * 0.25


def paint(canvas, piece, draw, light):
    """Paints ``piece`` with its shadow into ``canvas`` (H,W,3); returns bool (H,W), where it lies."""
    height, width = canvas.shape[:2]
    lies = np.zeros((height, width), bool)
    top, bottom, left, right = piece.window(height, width)
    if bottom - top < 3 or right - left < 3:
        return lies
    y, x = np.arange(2 * top, 2 * bottom)[:, None] * 0.5 + 0.25, np.arange(2 * left, 2 * right)[None] * 0.5 + 0.25
    distance, parts, u, v = piece.distance(x, y)            # two samples a pixel and direction
    distance = np.minimum(distance, 4.0) * piece.scale
    gy, gx = np.zeros_like(distance), np.zeros_like(distance)
    gy[1:-1], gx[:, 1:-1] = distance[2:] - distance[:-2], distance[:, 2:] - distance[:, :-2]
    steep = np.sqrt(gx * gx + gy * gy)                      # 1 where nothing is bent or stretched
    edge = distance / np.maximum(steep, 0.35)               # distance in pixels
    cover = halve(np.minimum(np.maximum(0.5 - 2 * edge, 0.0), 1.0))
    area = canvas[top:bottom, left:right]
    lies[top:bottom, left:right] = cover > 0.5
    if not lies.any():
        return lies

    material = piece.material
    covers = {name: halve(np.minimum(np.maximum(0.5 - 2 * part * piece.scale, 0.0), 1.0))
              for name, part in parts.items()}
    albedo = material.albedo(u[::2, ::2], v[::2, ::2], covers)
    bevel = material.bevel * piece.scale
    rise = material.slope * (1 - smooth(halve(-edge) / bevel))
    scale = 1 / np.maximum(steep, 0.35)
    nx, ny = halve(gx * scale) * rise, halve(gy * scale) * rise
    norm = np.sqrt(1 + nx * nx + ny * ny)
    bright, shine = light.shade(nx, ny, norm)
    surface = albedo * bright[..., None] * light.colour + material.gloss * shine[..., None]

    lift = 2 + int(0.05 * piece.scale * draw.between(0.5, 2))
    cast_shadow(canvas, cover, (top, left), lift, light)
    area += (surface - area) * cover[..., None]
    return lies


def cast_shadow(canvas, cover, corner, lift, light):
    """Darkens ``canvas`` away from the lamp, by the blurred and shifted outline, and a little all around."""
    dy, dx = (min(max(int(lift * side / light.z), -16), 16) for side in (light.y, light.x))
    shift = max(abs(dy), abs(dx))
    pad = shift + 3 * light.blur + 1                        # as far as the shadow reaches, and box_blur's margin
    soft = np.zeros([side + 2 * (pad + shift) for side in cover.shape], np.int32)
    soft[pad + shift:-pad - shift, pad + shift:-pad - shift] = np.floor(cover * 4096)
    soft = box_blur(box_blur(soft, light.blur), light.blur)
    rows, columns = cover.shape[0] + 2 * pad, cover.shape[1] + 2 * pad
    shifted = soft[shift + dy:shift + dy + rows, shift + dx:shift + dx + columns]
    around = soft[shift:shift + rows, shift:shift + columns]
    dark = 1 - light.shadow * (0.8 * shifted + 0.2 * around) / 4096
    top, left = corner[0] - pad, corner[1] - pad            # of ``dark`` in the image; cut to the image
    dark = dark[max(-top, 0):, max(-left, 0):]
    area = canvas[max(top, 0):, max(left, 0):][:dark.shape[0], :dark.shape[1]]
    area *= dark[:area.shape[0], :area.shape[1], None]


def border(owner):
    """bool (H,W): pixels with a neighbour (of eight) of another owner: a band of two pixels on each outline."""
    height, width = owner.shape
    padded, mixed = np.pad(owner, 1, mode="edge"), np.zeros((height, width), bool)
    for dy in range(3):
        for dx in range(3):
            mixed |= padded[dy:dy + height, dx:dx + width] != owner
    return mixed


def draw_scene(split, index):
    """Image ``index`` of ``split``: uint8 (H,W,3), and its mask uint8 (H,W). Depends on nothing else."""
    draw = Draw(("train", "val").index(split) + 1, index)
    height, width = draw.pick(SIZES)
    light = Light(draw)
    canvas = background(draw, split, height, width)
    owner = np.zeros((height, width), np.int64)             # 0 background, else 1 + place in the order
    labels = [0]
    for piece in arrange(draw, index, height, width):
        labels.append(piece.label)
        owner[paint(canvas, piece, draw, light)] = len(labels) - 1
    mask = np.array(labels, np.uint8)[owner]
    mask[border(owner)] = 255
    grain = hashed(height, width, index)[..., None] * 6 - 3
    return np.minimum(np.maximum(canvas + grain + 0.5, 0), 255).astype(np.uint8), mask
