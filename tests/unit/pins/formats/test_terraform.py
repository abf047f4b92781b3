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
