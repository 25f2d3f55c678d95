"""Drawings of ideas: labelled boxes and arrows, made in code so that they scale and change with the text."""

LIT, PLAIN, EDGE = "#ffe3a3", "#f2f2f2", "#444444"


def draw(boxes, arrows, lit=(), size=(9, 3.6)):
    """A matplotlib figure of 100 x 100 units.

    ``boxes``: dict name -> (x, y, width, text), x and y the centre; a text's second line is set smaller · ``arrows``: (from, to) or
    (from, to, text), names of boxes; a text beside the arrow · ``lit``: names of the boxes that a page is about.
    """
    import matplotlib.pyplot as plt
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.set(xlim=(0, 100), ylim=(0, 100))
    axis.axis("off")
    drawn = {}
    for name, (x, y, width, text) in boxes.items():
        title, _, rest = text.partition("\n")
        height = 13 if rest else 9
        axis.add_patch(plt.matplotlib.patches.FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=1.5", zorder=2, edgecolor=EDGE,
            facecolor=LIT if name in lit else PLAIN, linewidth=1.8 if name in lit else 0.9))
        axis.text(x, y + (2.6 if rest else 0), title, ha="center", va="center", fontsize=9, zorder=3,
                  weight="bold" if name in lit else "normal")
        axis.text(x, y - 3.2, rest, ha="center", va="center", fontsize=7, zorder=3)
        drawn[name] = (x, y, width / 2, height / 2)
    for start, end, *text in arrows:
        (x0, y0), (x1, y1) = _edge(drawn[start], drawn[end]), _edge(drawn[end], drawn[start])
        axis.annotate("", (x1, y1), (x0, y0), arrowprops=dict(arrowstyle="-|>", color=EDGE, lw=1.1, shrinkA=0, shrinkB=0), zorder=1)
        if text:
            axis.text((x0 + x1) / 2, (y0 + y1) / 2 + 2.5, text[0], ha="center", fontsize=7)
    return figure


def _edge(box, other):
    """Where the line from the centre of ``box`` to that of ``other`` leaves it."""
    (x, y, half_width, half_height), (to_x, to_y, *_) = box, other
    dx, dy = to_x - x, to_y - y
    reach = min(half_width / abs(dx) if dx else float("inf"), half_height / abs(dy) if dy else float("inf"))
    return x + dx * reach, y + dy * reach


def symmetric_frame(lit=()):
    """Sym-Net: the same step, APA, for support and query; ``lit``: among ``spm``, ``apa``, ``tdc``, ``triplet``, ``base``, ``text``."""
    boxes = {"support": (8, 74, 15, "support\nimage and outline"), "query": (8, 14, 15, "query\nimage"),
             "tdc": (42, 92, 17, "TDC\nmaps of likeness"), "spm": (28, 26, 15, "SPM\nwhere is it, roughly?"),
             "apa": (51, 74, 17, "APA\nsupport's prototype"), "apa_query": (51, 14, 17, "APA, the same\nquery's prototype"),
             "text": (35, 50, 14, "class name\nas a vector"), "triplet": (54.5, 44, 17, "triplet\nto the object, off the rest"),
             "hybrid": (72, 44, 14, "hybrid\nthe mean of both"), "decoder": (89, 60, 15, "decoder\nPFENet's FEM"),
             "base": (89, 34, 17, "base learner\nminus known things"), "mask": (89, 11, 12, "mask")}
    arrows = [("support", "apa"), ("support", "tdc"), ("query", "tdc"), ("query", "apa_query"), ("query", "spm"), ("support", "spm"),
              ("spm", "apa_query"), ("text", "apa"), ("text", "apa_query"), ("apa", "triplet"), ("apa_query", "triplet"),
              ("apa", "hybrid"), ("apa_query", "hybrid"), ("hybrid", "decoder"), ("tdc", "decoder"), ("decoder", "base"), ("base", "mask")]
    lit = [*lit, *(["apa_query"] if "apa" in lit else [])]
    return draw(boxes, arrows, lit)
