"""A gate's verdict for other programs: JUnit XML for continuous integration, Markdown for a pull request."""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree

from jobs import markdown
from jobs.gate import GRAVEST, Gate

MOST_ROWS = 100
"""Figures in the Markdown; a pull request takes 64 KiB, and the other files have them all."""

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = {"pass": "✅ pass", "fail": "❌ fail", "undecided": "❔ undecided"}


def junit(gate: Gate) -> bytes:
    """One test case for each figure judged, after the schema that Jenkins' JUnit plugin publishes.

    What is undecided is an error, not a skipped test: it must not look as if all was well.
    """
    verdicts = Counter(one.verdict for one in gate.judged)
    numbers = {
        "name": "cuecheck gate",
        "tests": str(len(gate.judged)),
        "failures": str(verdicts["fail"]),
        "errors": str(verdicts["undecided"]),
    }
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", numbers)
    properties = ElementTree.SubElement(suite, "properties")
    subjects = {"audit": gate.audit, "classifier": gate.classifier, "baseline": gate.baseline, "verdict": gate.verdict}
    for name, value in subjects.items():
        if value is not None:
            ElementTree.SubElement(properties, "property", name=name, value=_legal(value))
    for one in gate.judged:
        attributes = {
            "classname": _legal(f"rule {one.rule}: {one.title}"),
            "name": _legal(f"{one.check}: {one.place.text}"),
        }
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if one.verdict != "pass":
            kind = "failure" if one.verdict == "fail" else "error"
            found = ElementTree.SubElement(case, kind, type=one.verdict, message=_legal(one.reading))
            found.text = _legal(one.reading)
        else:
            ElementTree.SubElement(case, "system-out").text = _legal(one.reading)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def summary(gate: Gate) -> str:
    """The verdict as Markdown, the gravest first."""
    baseline = f" against audit {gate.baseline[:12]}" if gate.baseline else ""
    lines = [
        f"## {_MARKS[gate.verdict]}: Cuecheck",
        "",
        markdown.escaped(gate.answer),
        "",
        f"{markdown.escaped(gate.classifier)}, audit {markdown.escaped(gate.audit[:12])}{markdown.escaped(baseline)}.",
        "",
    ]
    ordered = sorted(gate.judged, key=lambda one: GRAVEST.index(one.verdict))
    rows = [(_MARKS[one.verdict], one.title, one.check, one.reading) for one in ordered[:MOST_ROWS]]
    lines.append(markdown.table(("verdict", "rule", "check", "reason"), rows))
    if len(ordered) > MOST_ROWS:
        lines.append(f"{len(ordered) - MOST_ROWS:,} more are in the other files.\n")
    return "\n".join(lines)


def _legal(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return _NO_XML.sub("\ufffd", text)
