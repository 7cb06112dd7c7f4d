"""The rules of a gate: a small TOML file, read strictly. docs/gate.md describes it."""

from __future__ import annotations

import re
import tomllib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.errors import Invalid

LARGEST_FILE = 64 * 1024
MOST_RULES = 200
CHECK = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S.*?)\s*", re.DOTALL)

Operator = Literal["<=", "<", ">=", ">"]
OPERATORS: tuple[Operator, ...] = ("<=", "<", ">=", ">")
Of = Literal["class mean", "sample mean", "every class", "worst class"]


class Rule(BaseModel):
    """One rule as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str = Field(max_length=300, description="METRIC OPERATOR VALUE, e.g. `swap_gap <= 5 points`.")
    name: str | None = Field(None, min_length=1, max_length=200, description="For people; the check if left out.")
    against: Literal["baseline"] | None = Field(
        None, description="Hold the change from the baseline to the value, not the figure itself."
    )
    of: Of | None = Field(None, description="Which figures of the metric; the class mean if left out.")
    class_name: str | None = Field(None, alias="class", description="Only the figures of this class.")
    feature: int | None = Field(None, description="Only those of this feature.")
    part: str | None = Field(None, description="Only those of this part, such as a fill or a tag.")
    min: int = Field(0, ge=0, description="Pictures that a figure must rest on to decide anything.")

    @property
    def parts(self) -> tuple[str, Operator, str]:
        """Metric, operator and value. Raises ValueError that says what to write."""
        found = CHECK.fullmatch(self.check)
        if found is None:
            raise ValueError(f"{self.check[:60]!r} is no check; write it as in 'swap_gap <= 5 points'")
        metric, operator, value = found.groups()
        for known in OPERATORS:
            if operator == known:
                return metric, known, value
        raise ValueError(f"{operator[:10]!r} is no operator; known are {', '.join(OPERATORS)}")

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or " ".join(self.check.split())


def read_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a file.

    Args:
        text: TOML: `[[rule]]` tables.

    Raises:
        Invalid: The file is too large, is no TOML, or has no rules or one that cannot be read, which is named.
    """
    if len(text.encode(errors="replace")) > LARGEST_FILE:
        raise _unreadable(f"The rules are larger than {LARGEST_FILE // 1024} KiB", "Split them into several gates.")
    try:
        text.encode()  # half a pair of surrogates is a character to JSON and to nothing else
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib has numbers of over 4,300 digits refused by int()
        raise _unreadable(f"The rules are no TOML: {error}", "See docs/gate.md for an example.") from error
    tables = given.pop("rule", None)
    if given:
        names = ", ".join(repr(key[:40]) for key in list(given)[:5])
        raise _unreadable(f"The rules have unknown keys: {names}", "Every rule is a table [[rule]].")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise _unreadable("There are no rules", "Write at least one table [[rule]].")
    if len(tables) > MOST_RULES:
        raise _unreadable(f"There are {len(tables):,} rules, more than {MOST_RULES}", "Split them into several gates.")
    return tuple(_rule(number, table) for number, table in enumerate(tables, start=1))


def refused(number: int, rule: Rule | None, message: str, remedy: str | None = None) -> Invalid:
    """The error that a rule cannot be used."""
    name = "" if rule is None or rule.name is None else f" ({rule.name[:60]!r})"
    return Invalid(f"Rule {number}{name}: {message}.", field="rules", remedy=remedy)


def _rule(number: int, table: dict[str, object]) -> Rule:
    try:
        rule = Rule.model_validate(table)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))[:60]
        known = ", ".join(field.alias or name for name, field in Rule.model_fields.items())
        remedy = f"A rule may have {known}; see docs/gate.md."
        raise refused(number, None, f"{place}: {fault['msg']}", remedy) from error
    try:
        _ = rule.parts
    except ValueError as error:
        raise refused(number, rule, str(error)) from error
    if rule.class_name is not None and rule.of is not None:
        raise refused(number, rule, "`class` and `of` exclude each other", "Leave one of them out.")
    return rule


def _unreadable(message: str, remedy: str) -> Invalid:
    return Invalid(f"{message}.", field="rules", remedy=remedy)
