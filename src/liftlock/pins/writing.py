"""Put a version into the text of a pin: pure functions from text to text, one per syntax."""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from liftlock.pins.model import CannotWrite, Pin, Syntax, Target
from liftlock.pins.tokens import DIGEST_ALONE

_NUMBER = r"v?\d+(?:\.\d+)*(?:\.\*)?(?:[-_.]?(?:a|b|rc|alpha|beta|dev|post)\.?\d*)*"
_CLAUSE = re.compile(rf"(?P<op>===|==|~=|!=|<=|>=|<|>|=|\^|~|)(?P<gap>\s*)(?P<version>{_NUMBER})", re.IGNORECASE)
_PLAIN = re.compile(
    r"(?P<v>v?)(?P<number>\d+(?:\.\d+)*(?:[-_.]?(?:a|b|rc)\d+)?(?:\.(?:dev|post)\d+)?)(?P<suffix>.*)", re.DOTALL
)
_BUILD = re.compile(r"(?<=[\w.*])=[\w.*]+$")
_LOWER = frozenset({"==", "===", "~=", ">=", ">", "=", "^", "~", ""})


def rewritten(pin: Pin, target: Target) -> str:
    """The text of a pin once it names the target. Raises CannotWrite with the reason."""
    match pin.syntax:
        case Syntax.VERSION:
            return _plain(pin.text, target.version)
        case Syntax.DIGEST:
            return _digest(pin, target)
        case Syntax.HASHES:
            return _hashes(pin, target)
        case Syntax.PEP440 | Syntax.POETRY | Syntax.CONDA:
            return _specifier(pin.text, target.version, pin.syntax)


def named(pin: Pin) -> str | None:
    """The version a pin names: that of its first clause which is no upper bound or exclusion; None for digests."""
    if pin.syntax in (Syntax.DIGEST, Syntax.HASHES):
        return None
    if pin.syntax is Syntax.VERSION:
        found = _PLAIN.match(pin.text)
        return found["number"] if found else None
    for clause in _CLAUSE.finditer(pin.text):
        if clause["op"] in _LOWER:
            return clause["version"].removeprefix("v")
    return None


def is_exact(pin: Pin) -> bool:
    """Whether a pin admits one version only."""
    if pin.syntax is Syntax.VERSION:
        return True
    if pin.syntax in (Syntax.DIGEST, Syntax.HASHES) or "*" in pin.text:
        return False
    operators = {clause["op"] for clause in _CLAUSE.finditer(pin.text)}
    exact = {"==", "==="} | ({"", "="} if pin.syntax is Syntax.POETRY else set())
    return len(operators) == 1 and operators <= exact


def _plain(text: str, target: Version) -> str:
    found = _PLAIN.fullmatch(text)
    if found is None:
        raise CannotWrite(f"{text!r} is not a version")
    return f"{found['v']}{target}{found['suffix']}"


def _digest(pin: Pin, target: Target) -> str:
    prefix = "@" if pin.text.startswith("@") else ""
    if new := target.digests.get(pin.package):
        return prefix + new
    if target.drop_digests and pin.what != DIGEST_ALONE:
        return ""
    raise CannotWrite(
        f"{pin.package} is pinned by a digest, which wins over its tag, and the digest of {target.version} is unknown"
    )


def _hashes(pin: Pin, target: Target) -> str:
    new = target.hashes.get(pin.package)
    if new is None:
        raise CannotWrite(f"the hashes of {pin.package} {target.version} are unknown")
    gap = re.search(r"[0-9a-f](\s*\\?\s+)--hash", pin.text)
    return (gap[1] if gap else " ").join(f"--hash={each}" for each in new)


def _specifier(text: str, target: Version, syntax: Syntax) -> str:
    if "|" in text:
        raise CannotWrite(f"{text!r} is a choice of ranges; which of them should move is a guess")
    if syntax is Syntax.CONDA:
        text = _BUILD.sub("", text)  # a build belongs to one version: `=2.9.2=pyhd8ed1ab_0`
    clauses = list(_CLAUSE.finditer(text))
    if not clauses:
        raise CannotWrite(f"{text!r} is not a version specifier")
    lower = next((clause for clause in clauses if clause["op"] in _LOWER), None)
    down = lower is not None and target < _version(lower["version"])
    pieces, position = [], 0
    for clause in clauses:
        pieces += [text[position : clause.start()], _clause(clause, target, syntax, down=down)]
        position = clause.end()
    result = "".join([*pieces, text[position:]])
    if syntax is Syntax.PEP440 and not admits(result, target):
        raise CannotWrite(f"{text!r} cannot be made to admit {target}")
    return result


def _clause(clause: re.Match[str], target: Version, syntax: Syntax, *, down: bool) -> str:
    operator, gap, old = clause["op"], clause["gap"], clause["version"]
    if operator == "!=":
        if admits(f"=={old}", target):
            raise CannotWrite(f"'{clause[0]}' excludes the version asked for")
        return clause[0]
    if operator in ("<", "<="):
        admitted = admits(f"{operator}{old}", target)
        if admitted and not down:
            return clause[0]
        return f"{operator}{gap}{target if operator == '<=' else _above(old, target)}"
    if "*" in old:
        return f"{operator}{gap}{_cut(target, old.count('.'))}.*"
    places = old.count(".") + 1
    fuzzy = (
        (operator == "~=" and places == 2)
        or (operator == "~" and places == 1)
        or (operator == "=" and syntax is Syntax.CONDA and places < 3)
    )
    if operator == ">":
        operator = ">="
    return f"{operator}{gap}{_cut(target, places) if fuzzy else target}"


def _above(old: str, target: Version) -> str:
    """The next upper bound of the same make: <3 -> <4, <2.10 -> <3.18, <3.0.0 -> <4.0.0 for 3.17.2."""
    parts = [int(part) for part in re.findall(r"\d+", re.match(r"v?[\d.]*", old)[0])]  # type: ignore[index] # matches ""
    last = max((place for place, part in enumerate(parts) if part), default=0)
    release = [*target.release, 0, 0, 0]
    new = [*release[:last], release[last] + 1, *([0] * (len(parts) - last - 1))]
    return ".".join(map(str, new))


def _cut(target: Version, places: int) -> str:
    release = [*target.release, 0, 0][:places]
    return ".".join(map(str, release))


def _version(text: str) -> Version:
    return Version(text.removesuffix(".*"))


def admits(specifier: str, version: Version) -> bool:
    """Whether a PEP 440 specifier admits a version; False for what is no specifier."""
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False
