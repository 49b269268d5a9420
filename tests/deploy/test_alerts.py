"""deploy/prometheus: rules that can be read, about figures that there are, with labels that these have."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pygments.lexers.promql import PromQLLexer
from pygments.token import Error, Name

import app.flusher.__main__
import app.jobs.__main__
import app.main  # noqa: F401 - whatever counts is loaded
import edge.main  # noqa: F401 - the same
from app.io.metrics import REGISTRY
from edge import metrics as edge_metrics
from tests.deploy.files import ROLES, ROOT, environment

FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
COLLECTING: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
OF_THE_COLLECTOR = {"job", "instance", "le"}


def labels() -> dict[str, set[str]]:
    """Labels of each metric by its name, and under each name that a histogram's figures have."""
    found = {"up": OF_THE_COLLECTOR}
    for family in REGISTRY._collector_to_names:  # noqa: SLF001 - it tells no labels of what was not counted yet
        for name in REGISTRY._collector_to_names[family]:  # noqa: SLF001
            found[name] = {*getattr(family, "_labelnames", ())}
    for metric in edge_metrics._memory.metrics:  # noqa: SLF001
        for ending in ("", "_bucket", "_sum", "_count"):
            found[metric.name + ending] = {*metric._labels}  # noqa: SLF001
    return found


KNOWN = labels()


def named(expression: str) -> Iterator[str]:
    """The metrics of an expression."""
    for kind, text in PromQLLexer().get_tokens(expression):
        if kind is Name.Variable and (text == "up" or text.startswith("quotastack_")):
            yield text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_about_what_there_is(rule: dict[str, Any]) -> None:
    """It can be read, each metric exists, and each label is one of the metric's or of the collector's."""
    expression: str = rule["expr"]
    tokens = list(PromQLLexer().get_tokens(expression))
    assert not [text for kind, text in tokens if kind is Error]
    assert all(expression.count(begin) == expression.count(end) for begin, end in ("()", "{}", "[]"))
    metrics = set(named(expression))
    assert metrics
    assert metrics <= KNOWN.keys()
    had = OF_THE_COLLECTOR.union(*(KNOWN[name] for name in metrics))
    matched = {text for inside in re.findall(r"\{(.*?)\}", expression) for text in re.findall(r"(\w+)\s*[=!]", inside)}
    grouped = {name.strip() for inside in re.findall(r"by \((.*?)\)", expression) for name in inside.split(",")}
    told = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert matched | grouped | told <= had
    if grouped:  # what is summed up by a label has no other any more
        assert told <= grouped


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_and_what_to_do(rule: dict[str, Any]) -> None:
    """To whoever is woken by it; how urgent it is, is one of two."""
    assert rule["labels"] in ({"severity": "page"}, {"severity": "warn"})
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(text[0].isupper() or text.startswith(("{{", "quotastack")) for text in rule["annotations"].values())


def test_alerts_have_names_of_their_own() -> None:
    """None hides another."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_every_process_is_collected_from() -> None:
    """Where it tells its figures in the compose file, with the token."""
    ports = {
        "core": 8000,
        "edge": 8001,
        "flusher": int(environment("flusher")["FLUSHER_METRICS_PORT"]),
        "jobs": int(environment("jobs")["JOBS_METRICS_PORT"]),
    }
    found = {config["job_name"]: config for config in COLLECTING["scrape_configs"]}
    assert found.keys() == {f"quotastack-{role}" for role in ROLES}
    for role, port in ports.items():
        config = found[f"quotastack-{role}"]
        assert config["static_configs"] == [{"targets": [f"{role}:{port}"]}]
        assert config["authorization"]["credentials_file"]
    assert (FOLDER / COLLECTING["rule_files"][0]).is_file()
