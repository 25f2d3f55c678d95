"""APA, visual-text prototype aggregation: a prototype asks, with its class's name at hand, which places to look at.

One module serves support and query, so that neither is favoured: the support's prototype looks at the support under its mask,
the query's at the query under its prior. The *hybrid* prototype is their mean.
"""

import torch
from torch import nn


class PrototypeAggregation(nn.Module):
    """``width``: W, channels of prototypes and features · ``text``: T, length of a class's vector, 0 for none · ``dropout``."""

    def __init__(self, width, text=0, dropout=0.1):
        super().__init__()
        self.ask = nn.Linear(text + width, width, bias=False)                            # q = W_q [text; prototype]
        self.look = nn.Conv2d(width, width, 1, bias=False)                               # keys, and values
        self.weigh = nn.Parameter(torch.empty(width, width))                             # of the bilinear score
        nn.init.xavier_uniform_(self.weigh)
        self.tell, self.drop = nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, prototype, features, text=None):
        """``prototype`` (B,W), ``features`` (B,W,h,w), ``text`` (B,T) or None -> (aggregated prototype (B,W), attention (B,h,w)).

        score = (q W) K^T, a softmax over all places, the values' mean by it through a linear layer, added to the prototype.
        """
        keys = self.look(features).flatten(2)                                            # (B, W, n)
        asked = self.ask(prototype if text is None else torch.cat([text, prototype], 1))
        attention = torch.einsum("bw,bwn->bn", asked @ self.weigh, keys).softmax(1)
        seen = torch.einsum("bn,bwn->bw", attention, keys)
        return prototype + self.drop(self.tell(seen)), attention.unflatten(1, features.shape[2:])


def hybrid(support, query):
    """The mean of both prototypes, (B,W) each."""
    return (support + query) / 2
