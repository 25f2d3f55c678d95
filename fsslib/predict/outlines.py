"""A mask's outlines as polygons, exact: filling them by the even-odd rule gives the same mask again."""

import numpy as np


def polygons(mask):
    """bool (H,W) -> list of objects, each a list of rings, float (n,2) of (x, y), closed: the outer one first, then its holes.

    Pixel (row, column) covers x from column to column + 1 and y from row to row + 1, as in COCO, so that its centre lies at + 0.5. An
    object is a 4-connected component; rings (scikit-image's contours at a half) cut pixels' corners off, never their centres.
    """
    from skimage.measure import find_contours, label
    padded = np.pad(np.asarray(mask, bool), 1)
    components, found = label(padded, connectivity=1, return_num=True)
    objects = []
    for number in range(1, found + 1):
        rings = [ring[:, ::-1] - 0.5 for ring in find_contours((components == number).astype(float), 0.5)]       # padding off, half a pixel on
        objects.append(sorted(rings, key=lambda ring: -abs(area(ring))))
    return objects


def area(ring):
    """Signed area of a closed ring (n,2)."""
    x, y = ring[:-1].T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def keyhole(rings):
    """An outer ring and its holes as one ring, for formats without holes: a cut of no width leads to each hole and back."""
    one = rings[0]
    for hole in rings[1:]:
        distance = ((one[:, None] - hole[None]) ** 2).sum(2)
        at, there = np.unravel_index(distance.argmin(), distance.shape)
        around = np.concatenate([hole[there:-1], hole[:there + 1]])                  # begins and ends at the near point
        one = np.concatenate([one[:at + 1], around, one[at:]])
    return one
