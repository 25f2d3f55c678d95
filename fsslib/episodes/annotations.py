"""Weak annotations made from a dense mask: a scribble or a box, as a hurried person would draw them.

PANet (Wang et al., ICCV 2019, section 4.4) gives them to the support images at test time. The scribbles follow the
"scribbles robot" of the DAVIS challenge (Caelles et al., "The 2018 DAVIS Challenge on Video Object Segmentation").
"""

import numpy as np

from ..basics.errors import InputError

BACKGROUND, FOREGROUND, UNKNOWN = 0, 1, 255
MAX_RADIUS = 16             # pixels; the opening before the medial axis
RADIUS_SHARE = 0.15 / 2     # of the square root of the region's area
MIN_NODES = 4               # shorter skeletons are dropped
FRAGMENT = 0.1              # of the largest component's area; less is no object of its own
SAMPLES = 1000              # points on a Bezier curve


def bounding_box(mask, instances=None):
    """The box of the largest object, as a support label map uint8 (H,W).

    ``mask``: bool or uint8 (H,W), 1 foreground, 0 background, 255 ignored. ``instances``: int (H,W), the number of
    the object a pixel belongs to, 0 for none; foreground without a number is split into 8-connected components.
    Returns 1 in the tight box of the largest object (the first one if several are equal), 0 outside the boxes of all
    objects, 255 in the other boxes. A box knows nothing of what it holds: background and ignored pixels count
    like any other. Nothing is 0 where the boxes cover the image. An unusable mask raises InputError.
    Source: PANet, section 4.4 and ``get_bbox`` of its code.
    """
    from scipy.ndimage import find_objects

    objects = _objects(_checked(mask, instances), instances)
    labels = np.full(objects.shape, BACKGROUND, np.uint8)
    boxes = find_objects(objects)                                   # one pair of slices an object
    for box in boxes:
        labels[box] = UNKNOWN
    labels[boxes[_largest(objects) - 1]] = FOREGROUND
    return labels


def scribble(mask, seed=0, instances=None):
    """A scribble on one object and one on the background, as a support label map uint8 (H,W).

    ``mask``, ``instances``: as in ``bounding_box``; ``seed``: an int, equal seeds draw equal scribbles.
    Returns 1 on the foreground's lines, 0 on the background's, 255 everywhere else; lines are one pixel wide.

    - Foreground: one object, drawn at random with equal chances among those that have a line (PANet's rule).
      If none has, all being too small or as round as a disc, whose medial axis is a point, the most interior pixel
      of the largest stands for its scribble. Without ``instances``, components under a tenth of the largest one are
      left out: most are its fragments (a leaf tip, what shows between two bars), which nobody would mark.
    - Background: lines drawn by the same steps on everything the mask calls 0 (one pixel if that is too small, none
      if there is no 0). PANet ships its scribbles ready-made, background lines among them, but not how those were
      made: this rule is ours. To keep the lines off another object, give its pixels as 255.

    A region becomes lines in the robot's steps: opening (``_opened``), medial axis, longest path of each piece
    (``_longest_paths``), Bezier curve (``_bezier``), Bresenham's lines. Where the curve leaves its region it is cut.
    An unusable mask raises InputError.
    """
    mask = _checked(mask, instances)
    objects = _objects(mask, instances)
    rng = np.random.default_rng(seed)
    sizes = np.bincount(objects.ravel())[1:]
    smallest = 1 if instances is not None else FRAGMENT * sizes.max()
    for number in rng.permutation(1 + np.flatnonzero(sizes >= smallest)):
        foreground = _lines(objects == number, rng)
        if foreground.any():
            break
    else:
        foreground = _most_interior(objects == _largest(objects))
    labels = np.full(mask.shape, UNKNOWN, np.uint8)
    labels[foreground] = FOREGROUND
    background = mask == BACKGROUND
    if background.any():
        lines = _lines(background, rng)
        labels[lines if lines.any() else _most_interior(background)] = BACKGROUND
    return labels


def annotator(name):
    """A function (support mask (S,S), image index) -> weaker mask for ``"scribble"`` or ``"box"``; None for ``"mask"``.

    A scribble's seed is the image's index: the same picture gets the same scribble in every run. A mask without
    foreground at this size (a tiny object after resizing) stays as it is.
    """
    if name == "mask":
        return None
    if name not in ("scribble", "box"):
        raise InputError("annotation", repr(name), "'mask', 'scribble' or 'box'", "Correct the name.")

    drawn = {}                                          # a support image comes back in many episodes

    def annotate(mask, index):
        if not (mask == FOREGROUND).any():
            return mask
        key = index, mask.shape, mask.tobytes()
        if key not in drawn:
            drawn[key] = scribble(mask, seed=index) if name == "scribble" else bounding_box(mask)
        return drawn[key]
    return annotate


def _checked(mask, instances):
    """``mask`` as uint8 (H,W) with a foreground; anything else, or instances that do not fit it, raises InputError."""
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise InputError("mask", f"an array of shape {mask.shape}", "(height, width)",
                         "Give the mask of one image and one class.")
    values = np.unique(mask)
    wrong = values[~np.isin(values, (BACKGROUND, FOREGROUND, UNKNOWN))]
    if wrong.size:
        raise InputError("mask", f"the value {wrong[0]}", "0 (background), 1 (foreground) or 255 (ignored)",
                         "Make it binary first, for example mask == class_id.")
    if FOREGROUND not in values:
        raise InputError("mask", "no foreground pixel", "at least one pixel of value 1",
                         "Choose an image that shows the class.")
    if instances is not None:
        instances = np.asarray(instances)
        if instances.shape != mask.shape:
            raise InputError("instances", f"an array of shape {instances.shape}", f"{mask.shape} as the mask",
                             "Resize both alike, without smoothing.")
        if instances.dtype.kind not in "iu" or instances.min() < 0:
            raise InputError("instances", f"{instances.dtype} values from {instances.min()} on",
                             "whole numbers, 0 for no object", "Number the objects 1, 2, 3, ...")
    return mask.astype(np.uint8)


def _objects(mask, instances):
    """int (H,W): the foreground's objects numbered 1..n without gaps, 0 elsewhere."""
    from skimage.measure import label

    foreground = mask == FOREGROUND
    if instances is None:
        return label(foreground, connectivity=2)
    numbers = np.where(foreground, instances, 0)
    used = np.setdiff1d(numbers, [0])
    objects = np.where(numbers > 0, np.searchsorted(used, numbers) + 1, 0)
    bare = label(foreground & (numbers == 0), connectivity=2)
    return np.where(bare > 0, used.size + bare, objects)


def _largest(objects):
    """Number of the object with most pixels, the first of equals."""
    return int(np.bincount(objects.ravel())[1:].argmax()) + 1


def _most_interior(region):
    """bool (H,W) with one pixel set: the one farthest from the region's edge; the image's border is an edge too."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    pixel = np.zeros(region.shape, bool)
    pixel.flat[depth.argmax()] = True
    return pixel


def _lines(region, rng):
    """bool (H,W): the robot's lines on ``region`` bool (H,W), all inside it; empty if it is too small for any."""
    from skimage.draw import line
    from skimage.morphology import medial_axis

    drawn = np.zeros_like(region)
    if region.sum() < MIN_NODES:
        return drawn
    box = _surroundings(region)                                                 # small objects in little time
    skeleton = np.zeros_like(region)
    skeleton[box] = medial_axis(np.pad(_opened(region[box]), 1), rng=rng)[1:-1, 1:-1]   # rng: ties between pixels
    for path in _longest_paths(np.argwhere(skeleton)):
        curve = np.rint(_bezier(path)).astype(int)
        drawn[tuple(curve.T)] = True
        for j in np.flatnonzero(np.abs(np.diff(curve, axis=0)).max(axis=1) > 1):        # samples that do not touch
            drawn[line(*curve[j], *curve[j + 1])] = True
    return drawn & region


def _surroundings(region):
    """The pair of slices of the region's box and one pixel around it, as far as there is one."""
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    return (slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2))


def _opened(region):
    """``region`` bool (H,W) after erosion and dilation by a disc of radius r: limbs thinner than 2r are gone.

    r = min(16, 0.15 sqrt(area) / 2) pixels, a tenth smaller as long as nothing would be left; at r <= 1 the region
    stays as it is. A distance transform erodes by the exact disc, whatever its radius. The image's border does not
    erode: an object cut off by it goes on behind it.
    """
    from scipy.ndimage import distance_transform_edt

    if region.all():
        return region
    radius = min(MAX_RADIUS, RADIUS_SHARE * np.sqrt(region.sum()))
    depth = distance_transform_edt(region)
    while radius > 1:
        if depth.max() > radius:
            return distance_transform_edt(depth <= radius) <= radius
        radius *= 0.9
    return region


def _longest_paths(points):
    """The longest path through each piece of a skeleton.

    ``points``: int (N,2), its pixels. Neighbours (distance 1 or sqrt 2) are joined; every cycle is opened at its
    heaviest edge, which leaves the minimum spanning forest; pieces under 4 pixels are dropped. In a tree the
    pixel farthest from any pixel ends a longest path, and the pixel farthest from that is its other end.
    Returns a list of int (L,2), L >= 2.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
    from scipy.spatial import KDTree

    if len(points) < MIN_NODES:
        return []
    a, b = KDTree(points).query_pairs(1.5, output_type="ndarray").T
    lengths = np.linalg.norm(points[a] - points[b], axis=1)
    graph = coo_array((lengths, (a, b)), shape=(len(points), len(points))).tocsr()
    graph.sort_indices()
    graph.data += 1e-9 * np.arange(graph.nnz)           # no two edges equal: the same forest on every machine
    forest = minimum_spanning_tree(graph)
    _, piece = connected_components(forest, directed=False)
    _, firsts, sizes = np.unique(piece, return_index=True, return_counts=True)
    paths = []
    for first in firsts[sizes >= MIN_NODES]:
        end = breadth_first_order(forest, first, directed=False)[0][-1]      # reached last: no pixel is farther
        order, parent = breadth_first_order(forest, end, directed=False)
        path = [order[-1]]
        while path[-1] != end:
            path.append(parent[path[-1]])
        paths.append(points[path])
    return paths


def _bezier(path):
    """1 000 points float (1000,2) on the Bezier curve whose control points are ``path`` (L,2).

    B(t) = sum_i C(n,i) t^i (1-t)^(n-i) P_i with n = L - 1. The weights are formed from logarithms (log-gamma), so
    they are exact at any degree, while C(n,i) itself overflows from n = 1030 on (PANet's code leaves paths of over
    1 000 pixels unsmoothed for that). A curve of this degree smooths like a Gaussian of sqrt(n t (1-t)) pixels:
    ends stay in place, corners are cut.
    """
    from scipy.special import gammaln

    n, t = len(path) - 1, np.linspace(0, 1, SAMPLES)[1:-1, None]                   # log 0 left out: the ends
    i = np.arange(n + 1)
    choose = gammaln(n + 1) - gammaln(i + 1) - gammaln(n - i + 1)                  # (L,)
    inner = np.exp(choose + i * np.log(t) + (n - i) * np.log1p(-t)) @ path         # (998,L) @ (L,2)
    return np.vstack([path[:1], inner, path[-1:]])                                 # B(0) = P_0, B(1) = P_n
