"""Every rule has its file, its test file and its behaviour."""

from pathlib import Path

from liftlock.knowledge import behaviours
from liftlock.scan import rules
from liftlock.scan.rules.registry import RULES


def test_one_rule_is_one_file_and_one_test_file() -> None:
    files = {path.stem for path in Path(rules.__file__).parent.glob("ll*.py")}
    assert {f"test_{name}" for name in files} == {path.stem for path in Path(__file__).parent.glob("test_ll*.py")}
    assert sorted(name[:5].upper() for name in files) == sorted(rule.code.code for rule in RULES)


def test_every_rule_is_a_behaviour_and_the_other_way_round() -> None:
    named = [each.rule for each in behaviours.load() if each.rule]
    assert sorted(named) == sorted(rule.code.code for rule in RULES)
