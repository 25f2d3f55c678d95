"""What a training is told: its steps, rate and episodes."""

from dataclasses import dataclass

import torch

from ..basics.config import at_least, finite
from ..basics.errors import InputError
from ..episodes.protocols import get_protocol
from ..episodes.transforms import check_geometry


@dataclass(frozen=True)
class TrainingConfig:
    """``steps``: optimiser steps · ``batch``: episodes a step and device · ``size``: input px · ``protocol``: rules
    that draw training queries and decide the input geometry · ``optimizer``: ``"sgd"`` with ``momentum``, or
    ``"adamw"``; both with ``lr`` and ``weight_decay`` ·
    ``lr_times_ten``: ten times ``lr``, which PFENet's and QGNet's released code does (``index_split=-1``), whatever
    their papers say · ``schedule``: ``"step"`` (x0.1 at a third and two thirds, PANet) or ``"poly"`` ((1 - t/T)^0.9,
    PFENet) · ``views``: see ``batches.EpisodeTensors`` ·
    ``crowded``, ``absent``: shares of the episodes whose query shows a second learned class, or not the asked one
    (``crowded.CrowdedSampler``) · ``validation``: share of the training images held out; their base-class episodes are
    the only ones a choice may rest on · ``validate_every``: steps, 0 for never · ``checkpoint_every``: steps."""
    steps: int = 1000
    batch: int = 4
    shots: int = 1
    ways: int = 1
    size: int = 225
    protocol: str = "panet"
    optimizer: str = "sgd"
    lr: float = 1e-3
    lr_times_ten: bool = False
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step"
    seed: int = 0
    views: int = 2
    crowded: float = 0.0
    absent: float = 0.0
    validation: float = 0.1
    validate_every: int = 100
    validation_episodes: int = 100
    checkpoint_every: int = 50
    precision: str = "auto"
    devices: int = 1


def learning_rate(config, step):
    """The rate at ``step`` 0..steps-1 of a fixed schedule."""
    lr = config.lr * (10 if config.lr_times_ten else 1)
    if config.schedule == "poly":
        return lr * (1 - step / config.steps) ** 0.9
    if config.schedule == "step":
        return lr * 0.1 ** (3 * step // config.steps)
    raise InputError("schedule", repr(config.schedule), "'step' or 'poly'", "Correct the name.")


def build_optimizer(model, config):
    """The optimiser of everything in ``model`` that learns; an unknown name raises InputError."""
    learning = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(learning, config.lr, config.momentum, weight_decay=config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(learning, config.lr, weight_decay=config.weight_decay)
    raise InputError("optimizer", repr(config.optimizer), "'sgd' or 'adamw'", "Correct the name.")


def check_config(config):
    """Raises InputError for a number that no training can use."""
    at_least(config, steps=1, batch=1, validate_every=0, validation_episodes=1, checkpoint_every=1, devices=1)
    finite(config, "lr", "momentum", "weight_decay", "crowded", "absent")
    if config.crowded + config.absent > 1:
        raise InputError("crowded, absent", f"{config.crowded}, {config.absent}", "shares that sum to at most 1", "Correct them.")
    if not 0 <= config.validation < 1 or (config.validate_every and not config.validation):
        raise InputError("validation", repr(config.validation), "a share above 0 and below 1",
                         "Correct it, or set validate_every to 0.")
    if not 0 <= config.seed < 2 ** 31:
        raise InputError("seed", repr(config.seed), "0..2147483647", "Choose a smaller seed.")
    check_geometry(config.size, get_protocol(config.protocol).resize)
    learning_rate(config, 0)
    build_optimizer(torch.nn.Linear(1, 1), config)
