"""Audits as runs of an MLflow server: one run per audit, updated where it is logged again.

MLflow is an extra: `pip install cuecheck[mlflow]`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jobs.errors import Invalid, JobsError, Unavailable
from jobs.figures import Figure
from jobs.report import Report

TRIES, FIRST_PAUSE_SECONDS = 3, 1.0
"""Of an upload while the server does not answer; the pause doubles."""
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own would try for minutes; what the user has set stands."""

AUDIT_TAG = "cuecheck.audit"
LONGEST_PARAM = 500
"""Characters that every version of MLflow takes."""
METRICS_AT_ONCE = 1000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Destination:
    """Where audits are logged.

    Attributes:
        uri: of the tracking server.
        experiment: its name; made where there is none.
        model, version: a registered model version to be tagged, or None.
    """

    uri: str
    experiment: str = "cuecheck"
    model: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Logged:
    """What a log came to: the run's id, and whether it was there before."""

    run: str
    updated: bool


def log_audit(report: Report, files: Mapping[str, bytes], finished: datetime, destination: Destination) -> Logged:
    """Log an audit, or log it again into the run it has.

    Args:
        report: of the audit.
        files: artefacts by name, such as report.html.
        finished: when the audit ended; the time of every metric, so that logging again adds no second value.
        destination: where.

    Raises:
        JobsError: MLflow is not installed. Unavailable: the server does not answer. Invalid: it refused.
    """
    with _patient():
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise JobsError("MLflow is not installed.", remedy="pip install 'cuecheck[mlflow]'") from error
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

        def log() -> Logged:
            return _log(MlflowClient(destination.uri, destination.uri), report, files, finished, destination)

        return _persistently(log, destination.uri, MlflowException)


def metrics_of(report: Report) -> dict[str, float]:
    """The headline, every mean over classes and every figure of a section that is of no class, by name.

    A figure is four metrics: `<name>`, `<name>.low`, `<name>.high` and `<name>.n`. One that is withheld has `.n` alone.
    """
    overall = report.findings.overall
    figures: dict[str, Figure] = {"headline": report.headline}
    figures |= {name: getattr(overall, name).class_mean for name in type(overall).model_fields}
    for section in report.sections:
        for entry in section.entries:
            if entry.of is None:
                parts = [section.name, entry.metric, entry.part, None if entry.feature is None else str(entry.feature)]
                figures[".".join(part for part in parts if part)] = entry.figure
    found: dict[str, float] = {"flagged_classes": float(len(report.flagged))}
    for name, figure in figures.items():
        values = {"": figure.value, ".low": figure.low, ".high": figure.high, ".n": float(figure.n)}
        found |= {_legal(name + end): value for end, value in values.items() if value is not None}
    return found


def params_of(report: Report) -> dict[str, str]:
    """What the audit was asked for; long values are cut."""
    found = {}
    for name, value in report.parameters.model_dump(mode="json", exclude_none=True).items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        found[name] = text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - 1] + "…"
    return found


def tags_of(report: Report) -> dict[str, str]:
    """What was audited, by digest, and how it came out."""
    return {
        AUDIT_TAG: report.audit,
        "cuecheck.verdict": report.verdict,
        "cuecheck.answer": report.answer,
        "cuecheck.classifier": report.classifier.id,
        "cuecheck.classifier_file": report.classifier.file,
        "cuecheck.classifier_name": report.classifier.name,
        "cuecheck.classifier_version": report.classifier.version,
        "cuecheck.dataset": report.dataset.id,
        "cuecheck.dataset_name": report.dataset.name,
        "cuecheck.bank": report.bank.digest,
        "cuecheck.bank_name": report.bank.name,
        "cuecheck.code_version": report.code_version,
    }


def _log(client: Any, report: Report, files: Mapping[str, bytes], finished: datetime, where: Destination) -> Logged:
    from mlflow.entities import Metric, Param, RunTag

    moment = int(finished.timestamp() * 1000)
    known = client.get_experiment_by_name(where.experiment)
    experiment = client.create_experiment(where.experiment) if known is None else known.experiment_id
    runs = client.search_runs([experiment], f"tags.`{AUDIT_TAG}` = '{report.audit}'", max_results=1)
    if runs:
        run = runs[0].info.run_id
    else:
        name = f"{report.classifier.name} on {report.dataset.name}"[:250]
        tags = {AUDIT_TAG: report.audit}
        run = client.create_run(experiment, start_time=moment, tags=tags, run_name=name).info.run_id
    metrics = [Metric(name, value, moment, 0) for name, value in metrics_of(report).items()]
    client.log_batch(
        run,
        params=[Param(name, value) for name, value in params_of(report).items()],
        tags=[RunTag(name, value) for name, value in tags_of(report).items()],
    )
    for start in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(run, metrics=metrics[start : start + METRICS_AT_ONCE])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        client.log_artifacts(run, folder)
    client.set_terminated(run, "FINISHED", moment)
    if where.model is not None and where.version is not None:
        headline = "withheld" if report.headline.value is None else f"{report.headline.value:.4f}"
        for name, value in {**tags_of(report), "cuecheck.headline": headline, "cuecheck.run": run}.items():
            client.set_model_version_tag(where.model, where.version, name, value)
    return Logged(run, bool(runs))


def _persistently(log: Callable[[], Result], uri: str, refused: type[Exception]) -> Result:
    """Try until it is done, or the server has not answered several times in a row."""
    import requests

    for attempt in range(TRIES):
        if attempt:
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return log()
        except (refused, requests.RequestException) as error:
            if not _is_away(error):
                text = f"MLflow at {uri} refused: {error}"
                raise Invalid(text, remedy="Mend what it says, then log again.") from error
            reason = str(error).partition("\n")[0][:300]
    raise Unavailable(f"MLflow at {uri} does not answer as it should, tried {TRIES} times: {reason}")


def _is_away(error: Exception) -> bool:
    """Whether the same call may succeed later: no connection, or an error of the server's own."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500
    if isinstance(error, requests.RequestException):
        return True
    status = getattr(error, "get_http_status_code", lambda: 500)()
    return int(status) >= 500 or int(status) == 429


def _legal(name: str) -> str:
    """A name that MLflow takes: letters, digits and `_-./ `."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-./ ") else "_" for letter in name)


@contextmanager
def _patient() -> Iterator[None]:
    """MLflow reads its patience from the environment; ours goes in where the user has none, and out again."""
    added = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
