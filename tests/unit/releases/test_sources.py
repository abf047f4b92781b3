from pathlib import Path

import pytest

from liftlock.errors import UsageError
from liftlock.model.secret import redact
from liftlock.releases.sources import find_sources


def test_uv_variables_win_and_reach_pip(tmp_path: Path) -> None:
    found = find_sources(
        {"UV_DEFAULT_INDEX": "corp=https://u:hunter2secret@pkg.example/simple", "PIP_INDEX_URL": "https://no.example"},
        tmp_path,
    )
    assert found.default == "https://u:hunter2secret@pkg.example/simple"
    assert found.for_uv() == {}
    assert found.for_pip() == {"PIP_INDEX_URL": found.default}
    assert "hunter2secret" not in redact(f"could not reach {found.default}")


def test_pip_configuration_reaches_uv(tmp_path: Path) -> None:
    links = tmp_path / "wheels"
    links.mkdir()
    config = tmp_path / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text(
        "[global]\nindex-url = https://pkg.example/simple\n"
        f"extra-index-url = file:///nowhere https://more.example/simple\nfind-links = {links}\n"
    )
    found = find_sources({}, tmp_path)
    assert found.for_uv() == {
        "UV_DEFAULT_INDEX": "https://pkg.example/simple",
        "UV_INDEX": "https://more.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(links),
    }
    assert found.for_pip() == {}


def test_uv_toml(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[[index]]\nurl = "https://a.example"\ndefault = true\n[[index]]\nurl = "https://b.example"\n')
    found = find_sources({}, tmp_path)
    assert (found.default, found.extra) == ("https://a.example", ("https://b.example",))
    config.write_text("index-url = [")
    with pytest.raises(UsageError, match="not readable TOML"):
        find_sources({}, tmp_path)
