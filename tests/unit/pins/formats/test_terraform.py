from __future__ import annotations

import pytest

from liftlock.pins.formats.terraform import Terraform
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["infra/main.tf", "infra/prod.tfvars"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Terraform(), path)


def test_comments_and_other_variables_stay() -> None:
    text = '/* mlflow:2.9.2\n*/\n# mlflow_version = "2.9.2"\nvariable "x" {\n  default = "2.9.2" // mlflow\n}\n'
    assert moved(Terraform(), text) == text


def test_a_variable_written_on_one_line_moves() -> None:
    text = 'variable "mlflow_image_tag" { default = "v2.9.2" }\nvariable "b" { default = "2.9.2" }\n'
    assert moved(Terraform(), text) == text.replace("v2.9.2", "v3.17.2")


def test_values_of_a_release_of_mlflow_move_and_those_of_others_stay() -> None:
    text = (
        'resource "helm_release" "mlflow" {\n  set = [{ name = "image.tag", value = "v2.9.2" }]\n'
        '  values = [yamlencode({ image = { tag = "v2.9.2" } })]\n  values = [<<-EOT\n    tag: v2.9.2\n  EOT\n  ]\n}\n'
    )
    other = 'resource "helm_release" "redis" {\n  values = [yamlencode({ image = { tag = "v2.9.2" } })]\n}\n'
    assert moved(Terraform(), text + other) == text.replace("2.9.2", "3.17.2") + other
