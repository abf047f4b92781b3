"""All formats, in the order in which they are asked; the first that recognises a file has it."""

from __future__ import annotations

from liftlock.pins.formats.ci import Ci
from liftlock.pins.formats.compose import Compose
from liftlock.pins.formats.conda import Conda
from liftlock.pins.formats.dockerfile import Dockerfile
from liftlock.pins.formats.docs import Docs
from liftlock.pins.formats.helm import Chart, Template, Values
from liftlock.pins.formats.interface import Format
from liftlock.pins.formats.kubernetes import Kubernetes
from liftlock.pins.formats.locks import CondaLock, PipfileLock, TomlLock
from liftlock.pins.formats.makefile import Makefile
from liftlock.pins.formats.mlproject import MLproject
from liftlock.pins.formats.pipfile import Pipfile
from liftlock.pins.formats.pyproject import Pyproject
from liftlock.pins.formats.release_config import ReleaseConfig
from liftlock.pins.formats.requirements import Requirements
from liftlock.pins.formats.security import Security
from liftlock.pins.formats.setup_cfg import SetupCfg
from liftlock.pins.formats.setup_py import SetupPy
from liftlock.pins.formats.shell import Shell
from liftlock.pins.formats.terraform import Terraform

FORMATS: tuple[Format, ...] = (
    TomlLock(), PipfileLock(), CondaLock(), Requirements(), Pyproject(), Pipfile(), SetupCfg(), SetupPy(), MLproject(),
    ReleaseConfig(), Security(), Dockerfile(), Ci(), Chart(), Conda(), Values(), Compose(), Kubernetes(), Template(),
    Terraform(), Makefile(), Shell(), Docs(),
)  # fmt: skip
