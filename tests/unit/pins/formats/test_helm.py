from __future__ import annotations

import pytest

from liftlock.pins.formats.helm import Chart, Template, Values
from liftlock.pins.model import Target
from tests.support.pins_check import TARGET, assert_sample, moved, owner


@pytest.mark.parametrize("path", ["chart/values.yaml", "platform/values-prod.yaml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Values(), path)


def test_the_chart_moves_its_app_version_only() -> None:
    assert_sample(Chart(), "chart/Chart.yaml")


def test_a_template_is_taken_line_by_line() -> None:
    assert_sample(Template(), "chart/templates/job.yaml")


def test_values_with_marks_inside_strings_are_still_values() -> None:
    text = "host: '{{ .Release.Name }}'\nimage:\n  repository: ghcr.io/mlflow/mlflow\n  tag: v2.9.2\n"
    found = owner("values.yaml", text)
    assert found is not None and found.name == "helm values"
    assert moved(Values(), text) == text.replace("2.9.2", "3.17.2")


def test_a_template_by_another_name_is_taken_line_by_line() -> None:
    text = "services:\n{% for x in y %}\n  image: x/mlflow:v2.9.2\n{% endfor %}\n"
    found = owner("compose.yml", text)
    assert found is not None and moved(found, text) == text.replace("2.9.2", "3.17.2")


def test_another_charts_app_version_stays() -> None:
    assert owner("Chart.yaml", "name: airflow\nappVersion: 2.9.2\n") is None


def test_a_digest_beside_the_tag_moves_with_it() -> None:
    text = "image:\n  repository: ghcr.io/mlflow/mlflow\n  tag: v2.9.2\n  digest: 'sha256:" + "a" * 64 + "'\n"
    target = Target(TARGET.version, digests={"ghcr.io/mlflow/mlflow": "sha256:" + "b" * 64})
    assert moved(Values(), text, target) == text.replace("2.9.2", "3.17.2").replace("a" * 64, "b" * 64)
