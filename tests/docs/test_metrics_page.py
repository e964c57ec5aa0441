"""The page of metrics is the table in the code."""

from __future__ import annotations

import re

from convostore.call.metrics import METRICS
from tests.docs.pages import DOCS

PAGE = (DOCS / "reference" / "metrics.md").read_text("utf-8")


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = [
        f"| `{metric.name}`<br>`{metric.prometheus_name}` | {metric.instrument.replace('_', ' ')} | {metric.unit} "
        f"| {'<br>'.join(f'`{name}`' for name in metric.attributes)} | {metric.description} |".replace("|  |", "| |")
        for metric in METRICS.values()
    ]
    assert re.findall(r"^\| `.*?`<br>`.*$", PAGE, re.MULTILINE) == rows


def test_the_page_explains_every_attribute() -> None:
    explained = re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE)
    assert explained == list(dict.fromkeys(name for metric in METRICS.values() for name in metric.attributes))
