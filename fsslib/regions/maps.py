"""Region maps: how much each place of a query looks like the best of some other places (QGNet, eq. 9-12).

The *prior region map* compares the query with itself, as two networks see it; no label is used. The *guided region
map* compares it with the labelled object of a support image; on high-level features it is PFENet's training-free prior.
"""

import torch
import torch.nn.functional as F

from ..basics.errors import InputError

EPSILON = 1e-7
BUDGET = 2 ** 24                             # cosines held at once: 64 MB, whatever the size of the maps


def cosine_max_map(query, key, key_mask=None):
    """float (B,h,w): s_q = max over q' of cos(x_q, p_q'), with q in the query and q' in the key (eq. 9-11).

    ``query``: float (B,C,h,w) · ``key``: float (B,C,h',w') · ``key_mask``: float (B,h',w') that multiplies the key's
    features; where it is 0 the cosine counts as 0. cos = <x, p> / (|x| |p| + 1e-7). Exact for any size: key positions
    are visited in blocks, so memory does not grow with h'w'. Gradients reach, for each q, the key position that won.
    Other numbers of channels raise InputError.
    """
    if query.shape[:2] != key.shape[:2]:
        raise InputError("region map", f"a query of (batch, channels) {tuple(query.shape[:2])} and a key of "
                         f"{tuple(key.shape[:2])}", "the same",
                         "Take both from one layer of the same backbone, or put a learned projection between them.")
    (B, C, h, w), q, k = query.shape, query.flatten(2), key.flatten(2)                   # (B, C, hw), (B, C, n)
    if key_mask is not None:
        m = key_mask.flatten(1)
        n = min(m.shape[1], 1 + int((m != 0).sum(1).max()))      # the object's places and one of the others, cosine 0
        places = (m != 0).float().topk(n).indices                                        # (B, n)
        k = (k * m[:, None]).gather(2, places[:, None].expand(-1, C, -1))
    with torch.no_grad():
        unit = k / (_length(k)[:, None] + EPSILON)                                       # |x_q| changes no winner
        best = q.new_full((B, h * w), -torch.inf)
        winner = torch.zeros(B, h * w, dtype=torch.long, device=q.device)
        block = max(1, BUDGET // (B * h * w))
        for at in range(0, k.shape[2], block):
            value, place = (q.transpose(1, 2) @ unit[..., at:at + block]).max(2)         # (B, hw)
            higher = value > best
            best, winner = torch.where(higher, value, best), torch.where(higher, place + at, winner)
    p = k.gather(2, winner[:, None].expand(-1, C, -1))                                   # (B, C, hw)  the winners
    return ((q * p).sum(1) / (_length(q) * _length(p) + EPSILON)).reshape(B, h, w)


def _length(x):
    """(B,C,n) -> (B,n); as norm(dim=1), which is several times slower on a CPU, and like it flat at a vector of 0."""
    return x.square().sum(1).clamp_min(1e-30).sqrt()


def normalised(maps):
    """(s - min s) / (max s - min s + 1e-7), each map (B,h,w) by itself (eq. 12); a constant map gives 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low + EPSILON)


def prior_region_map(query, prior, size=None):
    """float (B,1,h,w) in 0..1: the query's features against those of the prior extractor, same image, no mask.

    ``query``: X_q = F(I_q), float (B,C,h,w) · ``prior``: P_q = F_p(I_q), float (B,C,h',w'), from another network;
    plain cosine as in the paper's text. The released code compares two learned projections instead: project first.
    ``size``: (h, w) of the result, by default the query's.
    """
    return _resized(normalised(cosine_max_map(query, prior)), size)


def guided_region_map(query, support, support_masks, size=None):
    """float (B,1,h,w) in 0..1: the query's features against the object of K support images.

    ``query``: float (B,C,h,w) · ``support``: float (B,K,C,h',w') · ``support_masks``: (B,K,H,W), 1 on the object, any
    other value is not · ``size``: (h, w) of the result, by default the query's. Each shot is normalised and resized by
    itself, then the mean is taken, not normalised again (PFENet's released code). A support without object gives 0.
    """
    maps = 0
    for features, mask in zip(support.unbind(1), support_masks.unbind(1)):
        mask = F.interpolate((mask == 1).to(features)[:, None], features.shape[2:], mode="bilinear",
                             align_corners=True)[:, 0]                                   # (B, h', w')  soft edges
        maps = maps + _resized(normalised(cosine_max_map(query, features, mask)), size)
    return maps / support.shape[1]


def _resized(maps, size):
    maps = maps[:, None]                                                                 # (B, 1, h, w)
    return maps if size is None or size == maps.shape[2:] else F.interpolate(
        maps, tuple(size), mode="bilinear", align_corners=True)
