"""Every metric of the code is on its page, and the page names no other."""

import ast
import re
from collections.abc import Iterator

from tests.floors.source import ROOT, Source, refuse, sources
from tests.floors.test_pages import differences

METRIC_ENTRY = re.compile(r"^\| `(quotastack_\w+)`", re.MULTILINE)
MAKERS = {"counter", "gauge", "histogram"}
PAGE = "docs/metrics.md"


def metrics_of(source: Source) -> Iterator[str]:
    """Names of the metrics that a file makes."""
    for node in source.nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(attr=maker) | ast.Name(id=maker),
                args=[ast.Constant(value=str(name)), *_],
            ) if maker in MAKERS:
                yield name


def test_every_metric_is_explained() -> None:
    """docs/metrics.md has a row for each, so that whoever is woken by one knows what it is."""
    made = {name for source in sources("app", "edge") for name in metrics_of(source)}
    refuse(
        differences(made, PAGE, METRIC_ENTRY), f"Give each metric a row (| `name` | …) in {PAGE}; remove the others."
    )


def test_metrics_are_made_by_their_makers() -> None:
    """A name of ours stands nowhere else in the code: what is made in another way would be on no page."""
    strays = [
        source.at(node.lineno, repr(node.value))
        for source in sources("app", "edge")
        for node in source.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"quotastack_\w+_(?:total|seconds|entries|bytes)", node.value)
        and node.value not in set(metrics_of(source))
    ]
    refuse(strays, "Make the metric with counter, gauge or histogram, its name as the first argument.")


def test_every_job_is_named() -> None:
    """The page says which values the label `task` has: they are the names of the paces."""
    page = (ROOT / PAGE).read_text()
    names = {
        node.args[0].value
        for source in sources("app")
        for node in source.nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Pace"
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(names) > 5
    refuse((f"{name} is not on the page" for name in names if f"`{name}`" not in page), f"Name each job in {PAGE}.")
