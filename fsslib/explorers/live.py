"""A running training, redrawn in place under its cell: curves and predictions."""

from ..metrics import iou
from .pictures import overlay, show


class LiveCurve:
    """Values of a running training, redrawn in place under a notebook's cell: pass it as ``report``.

    ``names``: keys of a row that are drawn over ``row["step"]`` · ``every``: steps between two redrawings.
    """

    def __init__(self, names, every=5, ylabel="loss"):
        from IPython.display import display
        self.names, self.every, self.ylabel, self.rows = names, every, ylabel, []
        self.handle = display({"text/plain": "the curve appears with the first steps"}, raw=True, display_id=True)

    def __call__(self, row):
        self.rows.append(row)
        if row["step"] % self.every == 0:
            self.show()

    def show(self):
        """Draws what has come so far; returns the figure."""
        import matplotlib.pyplot as plt
        figure, axis = plt.subplots(figsize=(6, 2.4), layout="constrained")
        for name in self.names:
            axis.plot([row["step"] for row in self.rows], [row[name] for row in self.rows], label=name)
        axis.set(xlabel="step", ylabel=self.ylabel)
        axis.legend(loc="lower right", ncols=len(self.names))
        plt.close(figure)                        # shown through the handle alone
        if self.handle:                          # outside a notebook there is no place to redraw
            self.handle.update(figure)
        return figure


class LivePredictions:
    """A model's answers to fixed episodes as it learns, redrawn in place under a notebook's cell: pass it as ``report``.

    ``batches``: EpisodeBatches of one · ``pictures``: name -> its query, uint8 (S,S,3), in their order · ``every``: steps
    between two looks. Each answer is told with its IoU.
    """

    def __init__(self, model, batches, pictures, every):
        from IPython.display import display
        self.model, self.batches, self.pictures, self.every, self.columns = model, batches, pictures, every, []
        self.handle = display({"text/plain": "predictions appear here"}, raw=True, display_id=True)
        self({"step": 0})

    def __call__(self, row):
        import torch
        if row["step"] % self.every:
            return
        learning = self.model.training
        with torch.no_grad():
            answers = [self.model.eval()(batch).logits[0].argmax(0).cpu().numpy() for batch in self.batches]
        self.model.train(learning)
        truths = [batch.query_masks[0].cpu().numpy() for batch in self.batches]
        self.columns.append([(f"step {row['step']}: {100 * iou(a, t):.0f} %", overlay(p, a))
                             for p, a, t in zip(self.pictures.values(), answers, truths)])
        self.show()

    def show(self):
        """One row an episode: the truth, then the answers after more and more steps; returns the figure."""
        import matplotlib.pyplot as plt
        rows = [[(name, overlay(picture, batch.query_masks[0].cpu().numpy())), *(column[at] for column in self.columns)]
                for at, ((name, picture), batch) in enumerate(zip(self.pictures.items(), self.batches))]
        figure = show([panel for row in rows for panel in row], columns=len(rows[0]), width=1.4)
        plt.close(figure)
        if self.handle:
            self.handle.update(figure)
        return figure
