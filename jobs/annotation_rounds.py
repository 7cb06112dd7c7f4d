"""Opening the second round of an annotation."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.annotation import AnnotationRecord
from jobs.annotations import Annotations, require_open
from jobs.errors import Conflict
from jobs.queue import JobQueue
from jobs.validation_request import ValidationRequest


def open_validation(
    annotations: Annotations, queue: JobQueue, annotation: str, annotators: int | None = None
) -> AnnotationRecord:
    """Let a job draw the pictures, and ask about them from now on.

    Args:
        annotations: where the annotation is.
        queue: takes the job.
        annotation: its id.
        annotators: people asked about each row; as in the first round where left out.

    Raises:
        Conflict: it is closed, in its second round already, or answers of the first one are lacking.
        Invalid: the draft's pictures cannot be had any more.
    """
    with annotations.reading(annotation) as index:
        require_open(index.record, "labels")
        short = index.lacking()
    if short:
        raise Conflict(
            f"{sum(short.values()):,} answers of the first round are lacking, on {len(short):,} panels.",
            field="annotation",
            remedy="Wait for its annotators, or lower answers_per_panel.",
        )
    job = queue.submit(ValidationRequest(annotation=annotation))

    def update(record: AnnotationRecord) -> Mapping[str, object]:
        require_open(record, "labels")
        validators = annotators or record.answers_per_panel
        return {"stage": "validation", "validators": validators, "validation_job": job.id}

    return annotations.change(annotation, update)
