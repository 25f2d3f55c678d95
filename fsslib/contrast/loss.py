"""InfoNCE: of all these keys, which one is another view of what I see?"""

import torch
import torch.nn.functional as F


def contrast_logits(q, k, queue, temperature):
    """float (B,1+K): similarity of each query with its own key, then with every key of the queue, over temperature."""
    own = (q * k).sum(1, keepdim=True)                               # (B, 1)   q . k0
    others = q @ queue                                               # (B, K)   q . k_i
    return torch.cat([own, others], 1) / temperature


def own_key_first(logits):
    """Cross-entropy, mean over the batch: column 0, the own key, is the right answer."""
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def info_nce(q, k, queue, temperature=0.2):
    """-log exp(q.k0/tau) / (sum_i exp(q.k_i/tau) + exp(q.k0/tau)), the mean over the batch (paper, eq. 1 and 2).

    ``q``, ``k``: float (B,D), two views of the same B images or patches · ``queue``: float (D,K), keys of others, a
    column each · all l2-normalised by the caller; ``k`` and ``queue`` carry no gradient.
    ``temperature``: tau; the paper names none, MoCo v2 takes 0.2 (v1 0.07). Returns a scalar: log(1 + K) where
    nothing is told apart.
    """
    return own_key_first(contrast_logits(q, k, queue, temperature))
