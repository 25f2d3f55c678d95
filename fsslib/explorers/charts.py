"""Charts of stored tables, for pages."""

import numpy as np

from ..results.tables import support_mean

TITLES = {"crowded AUC": "tells two things apart\n(crowded AUC)", "marked more fully": "marks the asked one\nmore fully",
          "empty": "marks nothing\nwhere it is not"}
CHANCE = {"crowded AUC": 50, "marked more fully": 50, "AUC, wrong support": 50, "presence AUROC": 50}


def support_chart(tables, systems, measures=("crowded AUC", "marked more fully", "empty")):
    """A matplotlib figure of the support test: a row of axes a table, a column a measure, two bars a system (one shot above five),
    each with its 95 % interval; the dashed line is chance.

    ``tables``: dict title -> stored table with ``support`` · ``systems``: label before ", 1-shot" -> colour.
    """
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(len(tables), len(measures), figsize=(3.2 * len(measures), (0.5 + 0.5 * len(systems)) * len(tables)),
                                squeeze=False, sharex="col", sharey=True, layout="constrained")
    for row, (title, table) in zip(axes, tables.items()):
        for axis, name in zip(row, measures):
            for at, (system, colour) in enumerate(systems.items()):
                for shots, shift, strength in ((1, -0.2, 1.0), (5, 0.2, 0.5)):
                    mean = support_mean(table, name, f"{system}, {shots}-shot")
                    if mean is None:
                        continue
                    low, high = mean["interval"]
                    axis.barh(at + shift, mean["miou"], 0.36, color=colour, alpha=strength, xerr=[[max(mean["miou"] - low, 0)],
                                                                                               [max(high - mean["miou"], 0)]])
                    axis.text(2, at + shift, f"{mean['miou']:.0f}   {shots}-shot", va="center", fontsize=7,
                              color="white" if strength == 1 and mean["miou"] > 30 else "black")
            if name in CHANCE:
                axis.axvline(CHANCE[name], color="k", lw=0.8, ls="--")
                axis.set_xlabel("dashed: a coin", fontsize=7)
            axis.set(xlim=(0, 100), yticks=range(len(systems)), yticklabels=systems)
        row[0].set_ylabel(title)
    for axis, name in zip(axes[0], measures):
        axis.set_title(f"{TITLES.get(name, name)}, %", fontsize=9)
    axes[0][0].invert_yaxis()
    return figure



def dots(groups, label, chance=None):
    """A matplotlib figure of one line of dots a group, its mean a bar with the number; ``groups``: dict name -> values (n,)."""
    import matplotlib.pyplot as plt
    figure, axis = plt.subplots(figsize=(7, 0.45 * len(groups) + 0.8), layout="constrained")
    for at, values in enumerate(map(np.asarray, groups.values())):
        spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(values))
        axis.plot(values, at + spread, ".", color="tab:blue", alpha=0.45, ms=5)
        mean = np.nanmean(values)
        axis.plot([mean, mean], [at - 0.38, at + 0.38], "k", lw=2)
        axis.text(mean, at - 0.4, f"{mean:.2f}", ha="center", va="bottom", fontsize=8)
    if chance is not None:
        axis.axvline(chance, color="k", lw=0.8, ls="--")
    axis.set(yticks=range(len(groups)), yticklabels=groups, xlabel=label, ylim=(len(groups) - 0.5, -0.75))
    return figure
