"""Charts of stored tables, for pages."""

from ..results.tables import support_mean

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
            axis.set(xlim=(0, 100), yticks=range(len(systems)), yticklabels=systems)
        row[0].set_ylabel(title)
    for axis, name in zip(axes[0], measures):
        axis.set_title(f"{name}, %", fontsize=9)
    axes[0][0].invert_yaxis()
    return figure

