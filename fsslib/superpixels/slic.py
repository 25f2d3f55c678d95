"""Algorithm 2, SLIC, to be read: the paper's letters and equations in numpy. ``slic_patches`` is the fast one.

Achanta et al., *SLIC superpixels compared to state-of-the-art superpixel methods*, TPAMI 2012: k-means in colour
and place, where a centre only looks at the pixels near it. A centre C_k is (l, a, b, x, y).
"""

import numpy as np


def slic(image, K=50, m=10.0, threshold=0.5, repeats=10):
    """int32 (H,W), labels 0..n-1 of ``image`` uint8 (H,W,3): Algorithm 2 of QGNet, until E <= ``threshold`` px."""
    for labels, _, E in slic_steps(image, K, m, repeats):
        if E <= threshold:
            break
    return connect(labels, image.shape[0] * image.shape[1] / K / 2)


def slic_steps(image, K=50, m=10.0, repeats=10):
    """Yields (labels int (H,W), centres (n,5), E) after each repeat of Algorithm 2; label -1: no centre near."""
    from skimage.color import rgb2lab
    I = rgb2lab(image)                                       # (H,W,3), l 0..100, a and b about -100..100
    H, W = I.shape[:2]
    S = np.sqrt(H * W / K)                                   # the grid step: N pixels, K centres
    y, x = lowest_gradient(grid(H, W, S), gradient(I)).T
    yield from repeat(I, np.column_stack([I[y, x], x, y]), S, m, repeats)


def repeat(I, C, S, m, repeats, joint=False):
    """The loop of Algorithm 2 from centres ``C`` (n,5): assign, recentre; yields (labels, centres, E) each time."""
    for _ in range(repeats):
        labels = assign(I, C, S, m, joint)
        C, before = recentre(I, labels, C), C
        E = np.abs(C - before)[:, 3:].sum(1).mean()          # how far a centre moved: the residual error, px
        yield labels, C, E


def grid(H, W, S):
    """int (n,2), (y, x) of centres on a regular grid of step about S, half a step from the border."""
    rows, columns = max(1, round(H / S)), max(1, round(W / S))
    return np.array([((r + 0.5) * H / rows, (c + 0.5) * W / columns) for r in range(rows) for c in range(columns)], int)


def gradient(I):
    """G (H,W): G(x,y) = ||I(x+1,y) - I(x-1,y)||^2 + ||I(x,y+1) - I(x,y-1)||^2  (7); the border is repeated."""
    P = np.pad(I, ((1, 1), (1, 1), (0, 0)), "edge")
    return ((P[1:-1, 2:] - P[1:-1, :-2]) ** 2).sum(2) + ((P[2:, 1:-1] - P[:-2, 1:-1]) ** 2).sum(2)


def lowest_gradient(centres, G):
    """int (n,2): each (y, x) moved to the lowest G of its 3x3 neighbourhood: off edges and off noisy pixels."""
    moved = []
    for y, x in centres:
        top, left = max(y - 1, 0), max(x - 1, 0)
        window = G[top:y + 2, left:x + 2]
        dy, dx = np.unravel_index(window.argmin(), window.shape)
        moved.append((top + dy, left + dx))
    return np.array(moved)


def assign(I, C, S, m, joint=False):
    """int (H,W): each pixel's nearest centre among those whose window of 2S x 2S holds it; -1 where none does.

    D_s = D_lab + D_xy / S * m  (4) is the sum that the paper, and SLIC's report of 2010, print. ``joint``: as SLIC's
    article of 2012 and scikit-image, sqrt(D_lab^2 + (D_xy / S * m)^2), and as the latter in a window of 4S x 4S.
    """
    labels, nearest = np.full(I.shape[:2], -1), np.full(I.shape[:2], np.inf)
    reach = 2 * S if joint else S
    for k, (l, a, b, x, y) in enumerate(C):
        ys = np.arange(max(int(np.ceil(y - reach)), 0), min(int(y + reach) + 1, I.shape[0]))[:, None]
        xs = np.arange(max(int(np.ceil(x - reach)), 0), min(int(x + reach) + 1, I.shape[1]))
        window = slice(ys[0, 0], ys[-1, 0] + 1), slice(xs[0], xs[-1] + 1)
        D_lab = np.sqrt(((I[window] - (l, a, b)) ** 2).sum(2))                               # (5)
        D_xy = np.sqrt((xs - x) ** 2 + (ys - y) ** 2)                                        # (6)
        D_s = np.hypot(D_lab, D_xy / S * m) if joint else D_lab + D_xy / S * m               # (4)
        closer = D_s < nearest[window]
        nearest[window][closer], labels[window][closer] = D_s[closer], k
    return labels


def recentre(I, labels, C):
    """(n,5): the mean (l, a, b, x, y) of each centre's pixels; a centre without pixels stays."""
    H, W = labels.shape
    y, x = np.indices((H, W))
    near = labels >= 0
    count = np.bincount(labels[near], minlength=len(C))
    sums = [np.bincount(labels[near], values[near], len(C)) for values in (*np.moveaxis(I, 2, 0), x, y)]
    return np.where(count[:, None] > 0, np.stack(sums, 1) / np.maximum(count, 1)[:, None], C)


def connect(labels, smallest):
    """int32 (H,W), 0..n-1: each piece below ``smallest`` px joins the largest patch beside it, smallest first.

    After the repeats a label may lie in several pieces, and pixels far from every centre have none (the paper's
    "remaining unconnected pixels").
    """
    from skimage.measure import label
    pieces = label(labels, connectivity=1, background=-2) - 1                # 0..p-1
    sizes, beside = np.bincount(pieces.ravel()), {}
    for one, other in ((pieces[:, :-1], pieces[:, 1:]), (pieces[:-1], pieces[1:])):
        for p, q in np.unique(np.stack([one[one != other], other[one != other]], 1), axis=0).tolist():
            beside.setdefault(p, set()).add(q)
            beside.setdefault(q, set()).add(p)
    owner = np.arange(len(sizes))
    for p in sizes.argsort(kind="stable").tolist():
        if sizes[p] < smallest and beside.get(p):
            q = max(sorted(beside[p]), key=lambda n: sizes[n])
            owner[p], sizes[q] = q, sizes[q] + sizes[p]
            for n in beside.pop(p):
                beside[n].discard(p)
                if n != q:
                    beside[n].add(q)
                    beside[q].add(n)
    while (owner[owner] != owner).any():                     # q may have joined another one later
        owner = owner[owner]
    return np.unique(owner[pieces], return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
