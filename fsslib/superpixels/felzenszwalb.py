"""Algorithm 1, graph-based segmentation, to be read. ``felzenszwalb_patches`` is the fast one.

Felzenszwalb and Huttenlocher, *Efficient graph-based image segmentation*, IJCV 2004: pixels are the vertices V,
neighbours are joined by edges E whose weight w is their difference in colour. Edges are taken in rising order; two
components merge if the edge between them is no larger than what both know from within.
"""

import numpy as np


def felzenszwalb(image, k=100.0, sigma=0.8, min_size=300):
    """int32 (H,W), labels 0..n-1 of ``image`` uint8 (H,W,3): Algorithm 1 of QGNet on colours 0..255."""
    from scipy.ndimage import gaussian_filter
    I = gaussian_filter(image.astype(float), (sigma, sigma, 0))              # against noise and JPEG blocks
    w, i, j = edges(I)
    return segment_graph(I.shape[0] * I.shape[1], w, i, j, k, min_size).reshape(I.shape[:2])


def edges(I):
    """w float (e,), i and j int (e,): each pixel with its right, lower and two lower diagonal neighbours.

    w(edge) = ||I_i - I_j||; pixels are numbered row by row.
    """
    number = np.arange(I.shape[0] * I.shape[1]).reshape(I.shape[:2])
    pairs = [(np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]),
             (np.s_[:-1, :-1], np.s_[1:, 1:]), (np.s_[1:, :-1], np.s_[:-1, 1:])]
    w, i, j = zip(*[(np.sqrt(((I[p] - I[q]) ** 2).sum(2)).ravel(), number[p].ravel(), number[q].ravel())
                    for p, q in pairs])
    return np.concatenate(w), np.concatenate(i), np.concatenate(j)


def segment_graph(n, w, i, j, k, min_size=1):
    """int32 (n,), labels 0..r-1 of the vertices: S = (C_1, ..., C_r) from edges of weight w between i and j."""
    C = Components(n, k)
    order = np.argsort(w, kind="stable")
    o = list(zip(w[order].tolist(), i[order].tolist(), j[order].tolist()))   # o_1, ..., o_m in rising weight
    for w_q, v_i, v_j in o:
        C_i, C_j = C.of(v_i), C.of(v_j)
        if C_i != C_j and w_q <= C.MInt(C_i, C_j):
            C.merge(C_i, C_j, w_q)
    for w_q, v_i, v_j in o:                                  # not in the paper, but in every implementation
        C_i, C_j = C.of(v_i), C.of(v_j)
        if C_i != C_j and min(C.size[C_i], C.size[C_j]) < min_size:
            C.merge(C_i, C_j, w_q)
    roots = [C.of(v) for v in range(n)]
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)


class Components:
    """A forest over n vertices: which component a vertex is in, how large that is, and how different within."""

    def __init__(self, n, k):
        self.k, self.parent, self.size, self.Int = k, list(range(n)), [1] * n, [0.0] * n

    def of(self, v):
        """The root that stands for the component of v."""
        while self.parent[v] != v:
            self.parent[v] = self.parent[self.parent[v]]     # halves the way for whoever asks next
            v = self.parent[v]
        return v

    def MInt(self, a, b):
        """MInt(C_a, C_b) = min(Int(C_a) + tau(C_a), Int(C_b) + tau(C_b)), tau(C) = k / |C|.

        Int(C): the largest edge that was needed to hold C together, 0 for a single pixel. tau lets small
        components merge over larger differences: k is what a single pixel accepts.
        """
        return min(self.Int[a] + self.k / self.size[a], self.Int[b] + self.k / self.size[b])

    def merge(self, a, b, w):
        """C_a and C_b become one; edges come in rising order, so w is the largest inside."""
        if self.size[a] < self.size[b]:
            a, b = b, a
        self.parent[b], self.Int[a] = a, w
        self.size[a] += self.size[b]
