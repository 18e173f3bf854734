"""A constraint for an answer that is one of several texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmcore.messages import Regex

# The most texts to choose from.
N_CHOICES_MAX = 1024

# Characters that a regular expression reads as something other than themselves.
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&\-~]")


def choice_constraint(choices: Sequence[str]) -> Regex:
    """Returns the constraint that allows these texts and no other."""
    return Regex("|".join(_SPECIAL.sub(r"\\\g<0>", choice) for choice in choices))
