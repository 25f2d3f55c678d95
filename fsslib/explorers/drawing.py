"""Drawing on a photo: a box, scribbles or an outline, and the mask in another photo follows every stroke."""

import html
import io
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets
from PIL import Image, ImageDraw

from ..basics.errors import InputError
from ..predict import Segmenter
from ..predict.own_folder import save_outlines
from .pictures import overlay
from .widgets import Explorer, menu, slider

TOOLS = ("box", "scribble", "polygon")
THICK = 1 / 80                               # width of a scribble, of a photo's long side
WIDTH = 380                                  # of a photo on the page, px


class Board(anywidget.AnyWidget):
    """A photo on which strokes are drawn; each finished one arrives as a message {"kind", "label", "points" [[x, y], ...]}, in pixels
    of the photo."""
    _esm = Path(__file__).with_name("drawing.js")
    image = traitlets.Bytes().tag(sync=True)
    strokes = traitlets.List().tag(sync=True)
    tool = traitlets.Unicode("box").tag(sync=True)
    label = traitlets.Int(1).tag(sync=True)
    width = traitlets.Int(WIDTH).tag(sync=True)


def labels_of(strokes, shape):
    """Strokes on a photo of ``shape`` (H,W) -> (uint8 (H,W): 1 the thing, 0 not, 255 not told), or None where nothing says what the
    thing is. Inside of a box or polygon is the thing, outside is not; a scribble tells of its own pixels, whatever is below."""
    closed = [stroke for stroke in strokes if stroke["kind"] in ("box", "polygon")]
    picture = Image.new("L", shape[::-1], 0 if closed else 255)
    draw, thick = ImageDraw.Draw(picture), max(3, round(THICK * max(shape)))
    for stroke in sorted(strokes, key=lambda stroke: stroke["kind"] == "scribble"):
        points = [tuple(point) for point in stroke["points"]]
        if stroke["kind"] == "scribble":
            draw.line(points, stroke["label"], thick, joint="curve")
            for x, y in (points[0], points[-1]):
                draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), stroke["label"])
        elif stroke["kind"] == "box":
            (x0, x1), (y0, y1) = (sorted(side) for side in zip(*points))
            draw.rectangle((round(x0), round(y0), max(round(x0), round(x1) - 1), max(round(y0), round(y1) - 1)), 1)
        else:
            draw.polygon(points, 1)
    labels = np.array(picture)
    return labels if (labels == 1).any() else None


class Outliner:
    """Outline things in ``photos`` and see their masks in the others.

    ``photos``: list of (name, uint8 (H,W,3)) · ``classes``: names of what may be outlined · ``segmenter``: by default a new Segmenter ·
    ``folder``: where *save* writes the outlines, as a data set of ``open_dataset("folder")``.
    """

    def __init__(self, photos, classes=("object",), segmenter=None, folder=None):
        if len(photos) < 2:
            raise InputError("photos", f"{len(photos)}", "two or more", "Give the one to draw on and one to look for the thing.")
        self.photos, self.classes, self.folder = list(photos), tuple(classes), folder
        self.segmenter = segmenter or Segmenter()
        self.drawn = {}                      # (photo, class) -> strokes
        self.board = Board(image=_jpeg(self.photos[0][1]))
        self.picture = ipywidgets.Image(format="jpeg", layout={"width": f"{WIDTH}px", "align_self": "flex-start", "object_fit": "contain"})
        self.note = ipywidgets.HTML()
        self.support, self.query = slider(0, len(self.photos) - 1, 0, "draw on"), slider(0, len(self.photos) - 1, 1, "look in")
        self.name, self.tool = menu(self.classes, "class"), menu(TOOLS, "tool")
        self.side = menu((("on the thing", 1), ("off it", 0)), "strokes")
        self.undo, self.save = ipywidgets.Button(description="undo"), ipywidgets.Button(description="save")
        self.board.on_msg(lambda _, stroke, __: self.add(stroke))
        self.undo.on_click(lambda _: self.take_back())
        self.save.on_click(lambda _: self.write())
        self.tool.observe(lambda change: setattr(self.board, "tool", change["new"]), "value")
        self.side.observe(lambda change: setattr(self.board, "label", change["new"]), "value")
        self.support.observe(lambda _: self.turn(), "value")
        self.name.observe(lambda _: self.turn(), "value")
        self.query.observe(lambda _: self.answer(), "value")
        self.answer()

    @property
    def here(self):
        return self.support.value, self.name.value

    def add(self, stroke):
        """A finished stroke on the photo and class that are open."""
        self.drawn.setdefault(self.here, []).append(stroke)
        try:
            self.learn()
        except InputError as error:          # a click too small to be a box, say
            self.take_back()
            self.note.value = html.escape(str(error))

    def take_back(self):
        """The last stroke here is gone."""
        if self.drawn.get(self.here):
            self.drawn[self.here].pop()
            self.learn()

    def turn(self):
        """To another photo or class: its strokes."""
        self.board.image = _jpeg(self.photos[self.support.value][1])
        self.board.strokes = list(self.drawn.get(self.here, []))

    def learn(self):
        """The class of here anew, from all its strokes."""
        self.board.strokes = list(self.drawn[self.here])
        name = self.name.value
        self.segmenter.forget(name)
        for (at, of), strokes in self.drawn.items():
            photo = self.photos[at][1]
            labels = labels_of(strokes, photo.shape[:2]) if of == name else None
            if labels is not None:
                self.segmenter.learn(photo, scribble=labels, name=name)
        self.answer()

    def answer(self):
        """The mask in the photo that is looked at."""
        name, photo = self.photos[self.query.value]
        if not self.segmenter.classes:
            self.picture.value, self.note.value = _jpeg(photo), "Draw a box around the thing, on the left."
            return
        result = self.segmenter.segment(photo)
        number = np.array([0, *(1 + self.classes.index(of) if of in self.classes else 255 for of in result.classes)])
        self.picture.value = _jpeg(overlay(photo, number[result.mask]))         # a class keeps its colour, whichever was drawn last
        self.note.value = " · ".join(f"{html.escape(of)}: {100 * result.area[of]:.0f} % of the photo" if result.present[of] else f"{html.escape(of)}: not seen"
                                     for of in result.classes)

    def outlines(self):
        """List of (name, photo, uint8 (H,W) class numbers, 255 not told) of every photo drawn on."""
        found = []
        for at, (name, photo) in enumerate(self.photos):
            labels = [labels_of(self.drawn.get((at, of), []), photo.shape[:2]) for of in self.classes]
            if any(label is not None for label in labels):
                told = [label for label in labels if label is not None]
                mask = np.where(np.any([label == 0 for label in told], 0), 0, 255).astype(np.uint8)
                for n, label in enumerate(labels, 1):
                    if label is not None:
                        mask[label == 1] = n
                found.append((name, photo, mask))
        return found

    def write(self):
        """Saves the outlines; a note says where."""
        try:
            count = save_outlines(self.folder, self.outlines(), self.classes)
            self.note.value = f"{count} outlined photos in {self.folder}"
        except InputError as error:
            self.note.value = html.escape(str(error))

    def box(self):
        """The widget."""
        buttons = [self.undo, *([self.save] if self.folder else [])]
        return Explorer([ipywidgets.HBox([self.support, self.query, self.name, self.tool, self.side, *buttons], layout={"flex_flow": "row wrap"}),
                         ipywidgets.HBox([self.board, self.picture]), self.note])


def _jpeg(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
