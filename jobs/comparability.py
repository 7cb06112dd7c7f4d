"""Whether the figures of two audits may be compared: only the classifiers may differ."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError

from jobs.errors import Invalid
from jobs.report import Report

PARAMETERS = ("classes", "corruption", "sigma", "seed", "max_pictures")
"""Of an audit's request, beside the measurements; a map of class names belongs to its classifier."""


def read_report(data: bytes, whose: str, field: str) -> Report:
    """A report from its file.

    Args:
        data: `report.json`.
        whose: what it is called in errors, such as "the baseline".
        field: of the request, for errors.

    Raises:
        Invalid: It is no report, or one of another schema.
    """
    known = Report.model_fields["schema_version"].default
    try:
        given = json.loads(data)
        version = given["schema_version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Invalid(
            f"{whose.capitalize()} is not the report of an audit.",
            field=field,
            remedy="Give the id of an audit, or its report.json.",
        ) from error
    if version != known:
        raise Invalid(
            f"{whose.capitalize()} is a report of schema {str(version)[:20]!r}; this service has {known}.",
            field=field,
            remedy="Audit that classifier again.",
        )
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Invalid(
            f"{whose.capitalize()} is not a whole report: {place}: {first['msg']}.",
            field=field,
            remedy="Give the id of an audit, or its report.json as it was downloaded.",
        ) from error


def differences(first: Report, second: Report) -> list[str]:
    """In what two audits differ that must not, in words; nothing where they may be compared."""
    found = []
    if first.bank.digest != second.bank.digest:
        found.append(f"the bank ({_bank(first)} and {_bank(second)})")
    if first.dataset.id != second.dataset.id:
        found.append(f"the data set ({first.dataset.id[:12]} and {second.dataset.id[:12]})")
    for name in PARAMETERS:
        own, other = (_comparable(getattr(report.parameters, name)) for report in (first, second))
        if own != other:
            found.append(f"{name} ({own if own is not None else 'all'} and {other if other is not None else 'all'})")
    measured, also = first.parameters.measurements, second.parameters.measurements
    found += [
        f"the parameters of {name} ({json.dumps(measured[name])} and {json.dumps(also[name])})"
        for name in measured
        if name in also and measured[name] != also[name]
    ]
    return found


def check_comparable(first: Report, second: Report, field: str) -> None:
    """Raises `Invalid` that says which parts differ, where two audits cannot be compared."""
    if found := differences(first, second):
        raise Invalid(
            f"Audits {first.audit[:12]} and {second.audit[:12]} cannot be compared: they differ in {'; '.join(found)}.",
            field=field,
            remedy="Audit both classifiers with the same bank, data set and parameters.",
        )


def _bank(report: Report) -> str:
    return f"{report.bank.name} {report.bank.digest[:19]}"


def _comparable(value: object) -> object:
    return sorted(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
