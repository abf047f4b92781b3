"""setup.cfg and tox.ini: requirements in lists of an INI file."""

from __future__ import annotations

import configparser
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import CannotParse, Pin


class SetupCfg:
    """`setup.cfg` and `tox.ini`."""

    name = "setup.cfg"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name in ("setup.cfg", "tox.ini")

    def find(self, text: str) -> list[Pin]:
        """Requirements and variables outside comments."""
        parser = configparser.RawConfigParser(strict=False, delimiters=("=", ":"), allow_no_value=True)
        try:
            parser.read_string(text)
        except configparser.MissingSectionHeaderError as error:
            raise CannotParse(error.lineno, "not readable as INI: a line before the first section") from None
        except configparser.ParsingError as error:
            raise CannotParse(error.errors[0][0], "not readable as INI") from None
        except configparser.Error as error:
            raise CannotParse(1, f"not readable as INI: {error.message.splitlines()[0]}") from None
        return tokens.anything_in(tokens.without_comments(text, ("#", ";")))
