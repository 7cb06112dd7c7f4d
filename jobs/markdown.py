"""Markdown whose text comes from strangers: names of classes, classifiers and rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


def escaped(text: str) -> str:
    """The text on one line with nothing left in it that Markdown or HTML would act on, nor a mention of anyone."""
    plain = _CONTROL.sub(" ", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain).replace("://", ":&#47;/")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are escaped."""
    lines = [head, *rows]
    body = ["| " + " | ".join(map(escaped, line)) + " |" for line in lines]
    return "\n".join([body[0], "|" + "---|" * len(head), *body[1:]]) + "\n"
