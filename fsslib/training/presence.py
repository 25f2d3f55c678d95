"""Is the class there at all? A rule of few numbers, fitted on base classes when the decoder has learned."""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..basics.errors import InputError
from ..episodes.batches import EpisodeTensors, collate
from ..episodes.crowded import CrowdedSampler

EPISODES = 600               # half of them with queries that do not show the class
LOST = 0.1                   # share of the queries with the class that the rule may call empty


def presence_episodes(sampler, config):
    """Two EpisodeLists for ``fit_presence``, of one shot and of five, from the images and classes of a training's ``sampler``; where a
    class is too rare for five, twice of one. None, and a line that says so, where every image shows every class."""
    def drawn(shots):
        return CrowdedSampler(sampler.dataset, sampler.classes, shots, config.seed + 1, config.protocol, images=sampler.images,
                              shuffle=True, absent=0.5).take(EPISODES)
    try:
        one = drawn(1)
    except InputError as error:
        tqdm.write(f"no rule of presence: {error.found}; the model will not say whether a class is there")
        return None
    try:
        return one, drawn(5)
    except InputError:
        return one, one


@torch.no_grad()
def fit_presence(model, lists, tensors, config, device, progress=True):
    """Sets ``model.rule``, weights and bias of ``model.evidence``, a row for each of the ``lists`` of training episodes, by logistic
    regression; each episode is asked of the head that has left out its class. The bias is then moved until ``LOST`` of the queries
    that do show it fall below 0.
    """
    model.eval()
    for row, episodes in zip(model.rule, lists):
        data, found = EpisodeTensors(episodes, config.size, tensors.resize, bank=tensors.bank), []
        for batch in tqdm(DataLoader(data, config.batch, collate_fn=collate), desc="presence", unit="batch", disable=not progress):
            found.append(model.evidence(model(batch.to(device))).double())
        shown = torch.tensor([episodes.dataset.areas[e.query, e.class_ids[0]] > 0 for e in episodes], device=device)
        row.copy_(logistic_rule(torch.cat(found), shown, LOST))


def logistic_rule(x, shown, lost):
    """float64 (n,d), bool (n,) -> (d+1,) weights and bias: of a logistic regression with a small penalty on standardised numbers;
    the bias such that a share ``lost`` of the shown ones lies below 0."""
    mean, spread = x.mean(0), x.std(0).clamp_min(1e-9)
    z, w = (x - mean) / spread, torch.zeros(x.shape[1] + 1, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        with torch.enable_grad():
            value = F.binary_cross_entropy_with_logits(z @ w[:-1] + w[-1], shown.to(x.dtype)) + 1e-3 * w[:-1].square().sum()
            value.backward()
        return value
    optimizer.step(loss)
    weights = w.detach()[:-1] / spread
    return torch.cat([weights, -(x[shown] @ weights).quantile(lost)[None]])
