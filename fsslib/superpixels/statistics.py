"""How good a patch map is: how large its patches are, and how well they respect the outlines of a mask.

``labels``: integer (H,W), 0..n-1 · ``mask``: uint8 (H,W), classes, 255 ignored. Each measure is NaN where the mask
has nothing to say (all void, or no outline).
"""

import numpy as np

from .patches import patch_sizes

IGNORE = 255


def overlaps(labels, mask):
    """int64 (n, c): pixels that patch S_j shares with class G_i of the mask, void left out."""
    valid = mask != IGNORE
    table = np.bincount(labels[valid].astype(np.int64) * 256 + mask[valid], minlength=256 * (int(labels.max()) + 1))
    table = table.reshape(-1, 256)
    return table[:, table.any(0)]


def undersegmentation_error(labels, mask):
    """float 0..1, lower is better: 1/N sum_i sum_{j: S_j meets G_i} min(|S_j and G_i|, |S_j without G_i|).

    Neubert and Protzel, *Superpixel benchmark and comparison*, 2012: a patch that crosses an outline is charged its
    smaller part, once for each class that it touches; so large patches are not punished for grazing an object.
    """
    table = overlaps(labels, mask)
    return _ratio(np.minimum(table, table.sum(1, keepdims=True) - table).sum(), table.sum())


def boundary_recall(labels, mask, tolerance=2):
    """float 0..1, higher is better: share of the mask's outline with an edge of a patch within ``tolerance`` px.

    Martin et al., TPAMI 2004, in the form of Stutz et al., CVIU 2018: a square of 2 tolerance + 1 px. Annotated
    outlines are bands of void; the outline is taken in the middle of the band, where the two nearest classes meet.
    """
    from scipy.ndimage import distance_transform_edt, maximum_filter
    valid = mask != IGNORE
    if not valid.any():
        return float("nan")
    y, x = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    outline = boundaries(mask[y, x])
    near = maximum_filter(boundaries(labels), 2 * tolerance + 1)
    return _ratio((outline & near).sum(), outline.sum())


def boundaries(labels):
    """bool (H,W): pixels whose right or lower neighbour has another label."""
    found = np.zeros(labels.shape, bool)
    found[:, :-1] = labels[:, 1:] != labels[:, :-1]
    found[:-1] |= labels[1:] != labels[:-1]
    return found


def summary(labels, mask=None):
    """dict of one map: number of ``patches`` and their ``median`` size in px; with a mask ``undersegmentation`` and
    ``recall``."""
    sizes = patch_sizes(labels)
    found = {"patches": len(sizes), "median": float(np.median(sizes))}
    if mask is not None:
        found |= {"undersegmentation": undersegmentation_error(labels, mask), "recall": boundary_recall(labels, mask)}
    return found


def _ratio(part, whole):
    return float(part / whole) if whole else float("nan")
