"""Findings of a case of the sweep, and how they are judged."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.architectures import answers

# Bounds on our errors against plain llama.cpp in F32: a factor on the errors of ggml's own kernels with the same file, and an
# addend. Both round activations to eight bits in different ways, and in F32 the order of sums differs.
FACTOR, ADDED = 1.5, {"F32": 0.002, "Q8_0": 0.01, "Q4_K_M": 0.01}
# If ggml's own errors are larger than this, the weights amplify rounding and ours cannot be judged.
WILD = 0.3

_THEIRS = ("plain", "ggml")  # stages without anything of ours begin so
_ABSENT = {
    "make": "no such file can be made",
    "load": "refused at load",
    "plain": "refused by llama.cpp alone",
}


@dataclass
class Ended:
    """A crash of a case's process: stage, signal and last lines."""

    stage: str
    how: str
    reason: str

    @property
    def words(self) -> str:
        where = "llama.cpp alone" if self.stage.startswith(_THEIRS) else f"stage {self.stage}"
        return f"{self.how} in {where}: {self.reason}"


@dataclass
class Findings:
    """Findings of one case. `errors` are those of one caller and of two against plain llama.cpp, by kernels and settings."""

    architecture: str
    quant: str
    commit: str = ""  # of llmcore
    seconds: float = 0.0
    kernels: str = ""
    packed: float = 0.0  # bytes of packed weights, as a part of all weights' in the file
    generates: bool = True
    kind: str = ""  # of memory
    has_flash: bool = False
    cuttable: bool = False
    sliceable: bool = False
    copies: bool = False  # packed weights were unpacked for an operation of ggml's
    types: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    errors: dict[str, list[float]] = field(default_factory=dict)
    continued: dict[str, float | None] = field(default_factory=dict)
    engine: dict[str, float] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # stage, name of the error, message
    ended: list[Ended] = field(default_factory=list)

    def take(self, said: dict[str, Any]) -> None:
        """Adds the output of the case's process."""
        for name, value in said.items():
            mine = getattr(self, name)
            if isinstance(mine, dict):
                mine.update(value)
            else:
                setattr(self, name, value)

    # --- Judgement ----------------------------------------------------------------------------------------------------

    @property
    def absent(self) -> str:
        """Returns why there is no finding: the file cannot be made, is refused by name, or llama.cpp alone ends the process."""
        if self.refused and self.refused[0] in _ABSENT:
            return f"{_ABSENT[self.refused[0]]}: {self.refused[2].splitlines()[0]}"
        if self.ended and (self.ended[-1].stage == "make" or self._ends_anyhow):
            return self.ended[-1 if self.ended[-1].stage == "make" else 0].words
        return ""

    @property
    def _ends_anyhow(self) -> bool:
        """Returns True if llama.cpp alone ends the process with this file, too."""
        return {"ggml", "ours"} <= {each.stage for each in self.ended}

    @property
    def faults(self) -> list[str]:
        """Returns the faults of llmcore."""
        if self.absent:
            return []
        found = [each.words for each in self.ended if not each.stage.startswith(_THEIRS)]
        if self.refused:
            found.append(": ".join(self.refused))
        found += [f"logged {each}" for each in self.events]
        if self.copies:
            found.append("packed weights were unpacked for ggml")
        found += self._errors_too_large()
        limit = self._limit("ours")
        for name, error in self.continued.items():
            if error is not None and error > limit:
                found.append(f"{name}: {error:.3g}, at most {limit:.3g} was to be expected")
            if error is None and self.cuttable:
                found.append(f"{name}: refused, though the memory counts as one that can be cut")
        if not self.is_wild:
            for name in ("two", "prefix"):
                if self.engine.get(name, 0.0) > answers.TOLERANCE:
                    found.append(f"answers ({name}) are {self.engine[name]:.3g} apart")
        return found

    @property
    def is_wild(self) -> bool:
        return max(self.errors.get("ggml", [0.0])) > WILD

    def _limit(self, who: str) -> float:
        theirs = self.errors.get(who.replace("ours", "ggml"), self.errors.get("ggml", [0.0]))
        return FACTOR * max(theirs) + ADDED[self.quant]

    def _errors_too_large(self) -> list[str]:
        found = []
        for who, errors in self.errors.items():
            limit = self._limit(who)
            if who.startswith("ours") and max(errors) > limit:
                found.append(f"logits ({who}): {max(errors):.3g}, at most {limit:.3g} was to be expected")
        return found

    # --- Files --------------------------------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.architecture}-{self.quant}.json").write_text(json.dumps(asdict(self), indent=1), "utf-8")


def read_findings(path: Path) -> Findings:
    known = {each.name for each in fields(Findings)}
    values = {name: value for name, value in json.loads(path.read_text("utf-8")).items() if name in known}
    values["ended"] = [Ended(**each) for each in values["ended"]]
    return Findings(**values)
