"""What this installation can do: every registry and every limit that a client may want to know beforehand."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from jobs.annotation import LONGEST_REASON, MOST_ANSWERS
from jobs.annotation_invitations import MOST_HOURS
from jobs.annotation_votes import CSV, JSON
from jobs.archives import WALKERS
from jobs.comparison_request import MOST_OTHERS
from jobs.discovery_request import DiscoveryRequest
from jobs.export_request import FORMATS as MASK_FORMATS
from jobs.export_request import VALIDITIES, ExportRequest
from jobs.measurements import measurements
from jobs.metrics import declared_metrics
from jobs.mitigation_request import METHODS, MitigationRequest
from jobs.pictures import FORMATS
from jobs.sections import Metric
from jobs.training_request import ROUTES, TrainingRequest
from models import architectures, classifiers
from models.agreement import PLACES
from models.corruptions import CORRUPTIONS
from service.annotating import AnnotationRequest
from service.auth import require
from service.drafts import GROUPINGS, SOURCES
from service.options import MAX_CLASSES
from service.problems import KINDS, TYPE_PREFIX, problem_responses
from service.schemas import Encoding, MapKind, Size

router = APIRouter(tags=["capabilities"])


class MaskCapabilities(BaseModel):
    """What `POST /v1/masks` takes."""

    maps: list[str]
    sizes: list[str]
    encodings: list[str]
    picture_formats: list[str]
    max_pictures: int = Field(description="Per request.")
    max_pixels: int = Field(description="Per picture.")
    max_classes: int = Field(description="Explained per picture.")
    max_body_bytes: int
    deadline_seconds: float


class MeasurementCapabilities(BaseModel):
    """One way of measuring reliance on spurious features."""

    title: str
    summary: str
    needs: list[str] = Field(description="What must be there for it to say anything.")
    default: bool = Field(description="Whether audits that do not choose have it.")
    parameters: dict[str, Any] = Field(description="JSON schema of what may be set.")


class AuditCapabilities(BaseModel):
    """What audits take and do."""

    classifier_formats: dict[str, str] = Field(description="Formats of uploaded classifiers, each with what it is.")
    architectures: list[str] = Field(description="Networks that a safetensors file may hold the weights of.")
    archive_formats: list[str] = Field(description="Formats of uploaded data sets.")
    measurements: dict[str, MeasurementCapabilities] = Field(description="What can be measured.")
    metrics: dict[str, Metric] = Field(description="What a gate's rules can be about, by address.")
    corruptions: dict[str, str] = Field(description="What is done to the pixels under a mask.")
    max_upload_bytes: int


class DiscoveryCapabilities(BaseModel):
    """What discoveries take and find."""

    sources: dict[str, str] = Field(description="How the candidates of a class are found.")
    groupings: dict[str, str] = Field(description="Which pictures form the group of a class.")
    defaults: dict[str, Any] = Field(description="Of the parameters that may be left out.")


class TrainingCapabilities(BaseModel):
    """What trainings take."""

    routes: dict[str, str] = Field(description="Ways to an encoder of one's own classes.")
    architectures: list[str] = Field(description="Networks that can be trained.")
    defaults: dict[str, Any] = Field(description="Of the parameters that may be left out.")


class ExportCapabilities(BaseModel):
    """What exports of masks take and write."""

    formats: dict[str, str] = Field(description="How masks are written.")
    validities: dict[str, str] = Field(description="On which pictures a feature gets a mask.")
    defaults: dict[str, Any] = Field(description="Of the parameters that may be left out.")


class MitigationCapabilities(BaseModel):
    """What mitigations take and do."""

    methods: dict[str, str] = Field(description="How a classifier is changed.")
    defaults: dict[str, Any] = Field(description="Of the parameters that may be left out.")


class ComparisonCapabilities(BaseModel):
    """What comparisons take."""

    max_others: int = Field(description="Further audits that one may name, for effective robustness.")


class AnnotationCapabilities(BaseModel):
    """What annotations take."""

    kinds: list[str] = Field(description="Answers that annotators give.")
    media_types: list[str] = Field(description="Of answers as a file.")
    max_answers_per_panel: int
    max_reason_characters: int
    max_invitation_hours: int
    defaults: dict[str, Any] = Field(description="Of the parameters that may be left out.")


class EncoderCapabilities(BaseModel):
    """What encoders may be."""

    architectures: list[str] = Field(description="Networks that the weights may be of; the weights tell which.")
    catalogue: dict[str, str] = Field(description="Published ones that `cuecheck encoder pull` brings.")
    max_upload_bytes: int


class Capabilities(BaseModel):
    """The registries and limits of this installation."""

    version: str
    banks: list[str]
    default_bank: str
    masks: MaskCapabilities
    audits: AuditCapabilities
    encoders: EncoderCapabilities
    discoveries: DiscoveryCapabilities
    trainings: TrainingCapabilities
    annotations: AnnotationCapabilities
    exports: ExportCapabilities
    mitigations: MitigationCapabilities
    comparisons: ComparisonCapabilities
    problem_types: dict[str, str] = Field(description="Every `type` an error may have, with its title.")


@router.get(
    "/v1/capabilities",
    operation_id="capabilities",
    dependencies=[Depends(require("infer"))],
    responses=problem_responses("unauthorised", "forbidden"),
)
def capabilities(request: Request) -> Capabilities:
    """What can be asked for here, and within which limits."""
    state = request.app.state
    settings = state.settings
    return Capabilities(
        version=request.app.version,
        banks=state.banks.names(),
        default_bank=settings.default_bank,
        masks=MaskCapabilities(
            maps=list(get_args(MapKind)),
            sizes=list(get_args(Size)),
            encodings=list(get_args(Encoding)),
            picture_formats=list(FORMATS),
            max_pictures=settings.max_pictures,
            max_pixels=settings.max_pixels,
            max_classes=MAX_CLASSES,
            max_body_bytes=settings.max_body_bytes,
            deadline_seconds=settings.deadline_seconds,
        ),
        audits=AuditCapabilities(
            classifier_formats={name: known.title for name, known in classifiers.formats.items()},
            architectures=architectures.names(),
            archive_formats=list(WALKERS),
            measurements={
                name: MeasurementCapabilities(
                    title=own.title,
                    summary=own.summary,
                    needs=list(own.needs),
                    default=own.default,
                    parameters=own.parameters.model_json_schema(),
                )
                for name, own in measurements().items()
            },
            metrics=dict(declared_metrics()),
            corruptions={name: corruption.summary for name, corruption in CORRUPTIONS.items()},
            max_upload_bytes=settings.max_upload_bytes,
        ),
        discoveries=DiscoveryCapabilities(
            sources=SOURCES,
            groupings=GROUPINGS,
            defaults=_defaults(DiscoveryRequest),
        ),
        trainings=TrainingCapabilities(
            routes=ROUTES, architectures=architectures.names(), defaults=_defaults(TrainingRequest)
        ),
        exports=ExportCapabilities(
            formats={**MASK_FORMATS},
            validities=VALIDITIES,
            defaults=_defaults(ExportRequest),
        ),
        mitigations=MitigationCapabilities(methods=METHODS, defaults=_defaults(MitigationRequest)),
        comparisons=ComparisonCapabilities(max_others=MOST_OTHERS),
        annotations=AnnotationCapabilities(
            kinds=list(PLACES),
            media_types=[CSV, JSON],
            max_answers_per_panel=MOST_ANSWERS,
            max_reason_characters=LONGEST_REASON,
            max_invitation_hours=MOST_HOURS,
            defaults=_defaults(AnnotationRequest),
        ),
        encoders=EncoderCapabilities(
            architectures=architectures.names(),
            catalogue={name: entry.title for name, entry in state.catalogue.items()},
            max_upload_bytes=settings.max_upload_bytes,
        ),
        problem_types={TYPE_PREFIX + kind: about.title for kind, about in KINDS.items()},
    )


def _defaults(request: type[BaseModel]) -> dict[str, Any]:
    return {name: field.default for name, field in request.model_fields.items() if not field.is_required()}
