"""What a plan report says, before it has a form. Every value is computed; what could not be is named in `unknown`."""

from __future__ import annotations

import enum
from datetime import datetime

from liftlock.knowledge.advisories import Report as AdvisoryReport
from liftlock.knowledge.behaviours import Behaviour
from liftlock.knowledge.breaks import Break
from liftlock.knowledge.compatibility import Judgement
from liftlock.knowledge.fates import Fate
from liftlock.knowledge.features import Feature
from liftlock.knowledge.stops import Stop
from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.model.plan import Estimate, Plan

FORMAT = 1


class Migration(Value, frozen=True):
    """One revision and what it does to this database: `rows` are the rows it touches by table (empty: it only adds),
    `rewrites` the tables whose old rows may change, with the reason. `locks` are the tables that nobody can read
    (`everybody`) or write (`writers`) until the transaction ends, `aborts` what was seen to make it fail on this
    engine, and `basis` what `seconds` were worked out from."""

    role: Role
    revision: str
    release: str
    title: str
    rows: dict[str, int]
    rewrites: dict[str, str]
    drops: dict[str, tuple[str, ...]]
    seconds: Estimate
    locks: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - msgspec copies an empty default
    aborts: tuple[str, ...] = ()
    basis: str = ""


class Used(Value, frozen=True):
    """Something that breaks or changes and that the scanned code uses: how often and where (at most five places)."""

    symbol: str
    verdict: str
    changed_in: str
    count: int
    places: tuple[str, ...]
    replacement: str
    message: str


class Noticed(Value, frozen=True):
    """A change of behaviour, and why it does not matter here (empty: it does)."""

    behaviour: Behaviour
    spared: str


class LineState(enum.StrEnum):
    """What becomes of a word of this deployment's own command line or environment."""

    KEPT = "kept"
    CHANGED = "changed"
    GONE = "gone"
    FOREIGN = "not MLflow's"


class LineWord(Value, frozen=True):
    """An option or a variable this deployment sets."""

    word: str
    state: LineState
    before: str = ""
    after: str = ""


class Floor(Value, frozen=True):
    """Something the target needs at least: what there is and what it wants; `met` None when that is not known."""

    what: str
    have: str
    want: str
    met: bool | None
    reason: str = ""


class Room(Value, frozen=True):
    """A file system that takes backups and copies; bytes, `needed` without reserve."""

    path: str
    needed: int
    free: int


class Level(enum.IntEnum):
    """How likely, or how bad."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Risk(Value, frozen=True):
    """One risk, computed from findings: `because` names them, `answer` is what the plan does about it."""

    what: str
    likelihood: Level
    impact: Level
    because: str
    answer: str

    @property
    def weight(self) -> int:
        """Likelihood times impact, 1 to 9."""
        return int(self.likelihood) * int(self.impact)


class PlanReport(Value, frozen=True):
    """A plan with everything known beside it. None in `used` and `fates`: nothing was given to tell it from."""

    plan: Plan
    made_at: datetime
    catalogue: str
    stops: tuple[Stop, ...]
    why_stops: str
    migrations: tuple[Migration, ...]
    floors: tuple[Floor, ...]
    dependencies: tuple[str, ...]
    line: tuple[LineWord, ...]
    new_options: tuple[str, ...]
    defaults: tuple[LineWord, ...]
    breaks: tuple[Break, ...]
    used: tuple[Used, ...] | None
    behaviours: tuple[Noticed, ...]
    changes: dict[str, dict[str, int]]
    fates: tuple[Fate, ...] | None
    old_clients: tuple[Judgement, ...]
    new_clients: tuple[Judgement, ...]
    measured: str
    advisories: AdvisoryReport
    room: tuple[Room, ...]
    risks: tuple[Risk, ...]
    features: tuple[Feature, ...]
    checks: tuple[str, ...]
    unknown: tuple[str, ...]
    format: int = FORMAT
