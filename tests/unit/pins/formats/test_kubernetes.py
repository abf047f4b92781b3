from __future__ import annotations

import pytest

from liftlock.pins.formats.kubernetes import Kubernetes
from liftlock.pins.model import CannotParse
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["k8s/deployment.yaml", "k8s/kustomization.yaml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Kubernetes(), path)


def test_the_version_label_of_mlflow_moves_and_others_stay() -> None:
    text = (
        "apiVersion: v1\nkind: Service\nmetadata:\n  labels:\n    app.kubernetes.io/name: NAME\n"
        "    app.kubernetes.io/version: '2.9.2' # mlflow\n"
    )
    ours, theirs = text.replace("NAME", "mlflow"), text.replace("NAME", "redis")
    assert moved(Kubernetes(), ours) == ours.replace("'2.9.2'", "'3.17.2'")
    assert moved(Kubernetes(), theirs) == theirs


def test_yaml_that_cannot_be_read_is_named_with_its_line() -> None:
    with pytest.raises(CannotParse) as caught:
        Kubernetes().find("apiVersion: v1\nkind: Pod\nspec: [mlflow\nx: y\n")
    assert caught.value.line >= 3
