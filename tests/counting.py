"""What the metrics of this process have counted since a moment."""

from __future__ import annotations

import gc
from typing import Any

from convostore.call.instruments import Histogram, Values
from convostore.call.metrics import METRICS


def figures(name: str) -> dict[Values, float]:
    """Return the figures of a metric; of a histogram, how many values it has."""
    metric: Any = METRICS[name]
    if isinstance(metric, Histogram):
        return {values: sum(found.counts) for values, found in metric.distributions().items()}
    found: dict[Values, float] = metric.figures()
    return found


class Counted:
    """How much each figure has changed since this was made, by metric; those that have not are left out."""

    def __init__(self) -> None:
        gc.collect()  # Pools of earlier tests must not disappear from the figures later.
        self._before = {name: figures(name) for name in METRICS}

    def __getitem__(self, name: str) -> dict[Values, float]:
        before = self._before[name]
        changes = {values: figure - before.get(values, 0) for values, figure in figures(name).items()}
        return {values: change for values, change in changes.items() if change}
