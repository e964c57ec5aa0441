"""Metrics in the text format of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from convostore.call.instruments import Metric

CONTENT_TYPE = "text/plain; version=0.0.4"


def label(attribute: str) -> str:
    """Return the label that an attribute is in Prometheus."""
    return attribute.replace(".", "_")


def exposed(metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the lines of the metrics that have figures."""
    for metric in metrics:
        name = metric.prometheus_name
        if lines := [_line(f"{name}{suffix}", labels, figure) for suffix, labels, figure in metric.samples()]:
            yield f"# HELP {name} {metric.description}\n# TYPE {name} {metric.prometheus_type}\n"
            yield from lines


def _line(name: str, attributes: Mapping[str, str], figure: float) -> str:
    labels = ",".join(f"{label(key)}={json.dumps(value)}" for key, value in attributes.items())
    return f"{name}{{{labels}}} {figure!r}\n" if labels else f"{name} {figure!r}\n"
