"""Which photo to outline first? The one most like all the others; then the one least like those already chosen."""

import numpy as np
from scipy.spatial.distance import cdist

from ..episodes.transforms import padded_content

FIRST, NEXT = "most like all the others", "least like those before it"


def suggest(vectors, count=5):
    """Greedy choice among ``vectors`` float (N,C), one a photo: list of (index, reason, distance).

    Each channel is first divided by its spread over the photos. The first is the medoid, of the smallest mean distance to all; each next
    one is the farthest from its nearest chosen one (greedy k-centre). ``distance``: that number, in units of the mean distance of two
    photos.
    """
    x = np.asarray(vectors, float)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    apart = cdist(x, x)                                                                    # (N, N)
    apart = apart / max(apart.sum() / max(len(x) * (len(x) - 1), 1), 1e-12)
    found = [(int(apart.mean(1).argmin()), FIRST, float(apart.mean(1).min()))]
    while len(found) < min(count, len(x)):
        nearest = apart[:, [index for index, _, _ in found]].min(1)
        nearest[[index for index, _, _ in found]] = -1
        found.append((int(nearest.argmax()), NEXT, float(nearest.max())))
    return found


def mean_feature(segmenter, photo):
    """float (C,): the mean of what the encoder sees of a photo uint8 (H,W,3), without the black beside it."""
    features = segmenter.features(photo).cpu()                             # (C, h, w)
    h, w = (max(1, side * features.shape[1] // segmenter.size) for side in padded_content(photo.shape[:2], segmenter.size))
    return features[:, :h, :w].mean((1, 2)).numpy()
