"""pip-audit's answer: flaws, what could not be asked, and what a change of sets does to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liftlock.errors import UsageError
from liftlock.knowledge.packages import Audit, changes, parse, pins, unasked, with_osv

LOCK = """
jinja2==3.1.2 \\
    --hash=sha256:aa
Flask_Cors[x]==4.0.0 ; python_version > "3"
mine @ file:///srv/mine
# numpy==1
"""


def answer(*flaws: tuple[str, str, str], skipped: tuple[str, ...] = ()) -> str:
    found = [
        {"name": name, "version": version, "vulns": [
            {"id": key, "fix_versions": ["9"], "aliases": ["CVE-1"], "description": "first\nsecond"}
        ] if key else []}
        for name, version, key in flaws
    ]  # fmt: skip
    return json.dumps(
        {"dependencies": [*found, *({"name": name, "skip_reason": "not there"} for name in skipped)], "fixes": []}
    )


def test_pins_of_a_lock() -> None:
    assert pins(LOCK) == {"jinja2": "3.1.2", "flask-cors": "4.0.0"}


def test_what_was_not_answered_is_unknown() -> None:
    wanted = {"jinja2": "3.1.2", "flask-cors": "4.0.0", "numpy": "1", "six": "1"}
    found = parse(answer(("Jinja2", "3.1.2", "GHSA-x"), ("six", "1", ""), skipped=("flask_cors",)), wanted)
    assert [(each.package, each.id, each.fixes, each.summary) for each in found.flaws] == [
        ("jinja2", "GHSA-x", ("9",), "first")
    ]
    assert found.unknown == {"flask-cors": "not there", "numpy": "pip-audit did not mention it"}
    assert unasked(wanted, "no network").unknown.keys() == wanted.keys()


@pytest.mark.parametrize("text", ["", "[]", '{"dependencies": [{"version": "1"}]}', '{"dependencies": 3}'])
def test_another_programs_answer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse(text, {})


def test_fixed_left_gained_and_unknown() -> None:
    def audit(*flaws: tuple[str, str], unknown: tuple[str, ...] = ()) -> Audit:
        named = {name: "1" for name, _ in flaws} | dict.fromkeys(unknown, "1")
        return parse(answer(*((name, "1", key) for name, key in flaws), skipped=unknown), named)

    before = audit(("a", "A"), ("b", "B"), ("d", "D"), unknown=("e",))
    after = audit(("b", "B"), ("c", "C"), ("e", "E"), unknown=("d",))
    assert [(each.what, each.flaw.id) for each in changes(before, after)] == [
        ("gained", "C"), ("left", "B"), ("unknown", "D"), ("unknown", "E"), ("fixed", "A"),
    ]  # fmt: skip


def test_osv_files_add_flaws_but_make_nothing_harmless(tmp_path: Path) -> None:
    def entry(key: str, name: str, fixed: str, **more: object) -> dict[str, object]:
        events = [{"introduced": "0"}, {"fixed": fixed}]
        affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        return {"id": key, "summary": f"about {name}", "affected": [affected], **more}

    path = tmp_path / "osv.json"
    path.write_text(
        json.dumps(
            [
                entry("OSV-1", "Jinja2", "3.1.4"), entry("OSV-2", "flask_cors", "3.0"), entry("OSV-3", "mlflow", "9"),
                entry("OSV-4", "jinja2", "4", aliases=["CVE-1"]), entry("OSV-5", "jinja2", "4", withdrawn="2026-01-01"),
                entry("OSV-6", "stranger", "9"),
            ]
        )
    )  # fmt: skip
    wanted = {"jinja2": "3.1.2", "flask-cors": "4.0.0", "mlflow": "2.9.2"}
    known = parse(answer(("jinja2", "3.1.2", "GHSA-x"), skipped=("flask-cors", "mlflow")), wanted)
    found = with_osv(known, wanted, [path])
    assert [(each.package, each.id, each.fixes) for each in found.flaws] == [
        ("jinja2", "GHSA-x", ("9",)), ("jinja2", "OSV-1", ("3.1.4",)),
    ]  # fmt: skip
    assert found.unknown == known.unknown
    path.write_text('[{"id": "X"')
    with pytest.raises(UsageError, match="line 1"):
        with_osv(known, wanted, [path])
