"""Feature banks: which there are, their classes, and the labelled features of a class with their exemplars."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse

from models.bank import Bank, Exemplar, Feature
from models.bank_card import read_provenance
from models.bank_diff import BankDiff, diff
from models.errors import BankError, UnknownClassError
from service.auth import require
from service.banks import Banks
from service.problems import Problem, problem_responses
from service.schemas import (
    BankClass,
    BankDetails,
    BankFeature,
    BankFeatures,
    BankList,
    BankReference,
    BankSummary,
    BankVersion,
    BankVersions,
    ExemplarReference,
    Page,
)

router = APIRouter(prefix="/v1/banks", tags=["banks"], dependencies=[Depends(require("infer", "annotate"))])

BankName = Annotated[
    str, Path(description="Name of the bank (its latest version), `name@version`, or its digest.", examples=["planted"])
]
ClassKey = Annotated[str, Path(description="Name of the class, or its index.", examples=["beetle"])]
REFUSED = ("unauthorised", "forbidden")
PICTURES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


@router.get("", operation_id="list_banks", response_model_exclude_none=True, responses=problem_responses(*REFUSED))
def list_banks(request: Request) -> BankList:
    """All feature banks, damaged ones with the reason why they cannot be used."""
    banks: Banks = request.app.state.banks
    return BankList(default=banks.default, banks=[_summary(banks, name) for name in banks.names()])


@router.get(
    "/{bank}",
    operation_id="get_bank",
    response_model_exclude_none=True,
    responses=problem_responses(*REFUSED, "unknown-bank"),
)
def get_bank(request: Request, bank: BankName) -> BankDetails:
    """One bank: what it is, how it was made and what was measured of it."""
    found = _bank(request, bank)
    entry = found.manifest.backbone
    return BankDetails(
        **describe(found).model_dump(),
        labeller=found.manifest.labeller,
        parent=found.manifest.parent,
        provenance=read_provenance(found.card),
        architecture=entry.architecture,
        input_size=entry.preprocessing.size,
        maps=entry.maps,
        card=found.card,
    )


@router.get(
    "/{bank}/versions",
    operation_id="list_bank_versions",
    response_model_exclude_none=True,
    responses=problem_responses(*REFUSED, "unknown-bank"),
)
def list_versions(request: Request, bank: BankName) -> BankVersions:
    """All versions that the service has of a bank, the latest first; each stays what it was when it was published."""
    banks: Banks = request.app.state.banks
    name, found = banks.versions(bank)
    return BankVersions(name=name, versions=[_version(banks, name, version) for version in reversed(found)])


@router.get(
    "/{bank}/diff",
    operation_id="diff_banks",
    responses=problem_responses(*REFUSED, "unknown-bank", "invalid"),
)
def compare(
    request: Request,
    bank: BankName,
    other: Annotated[str, Query(alias="with", description="The bank it is compared with, named alike.")],
) -> BankDiff:
    """What is different in another bank: rows that came or went, labels, votes, ranges of validity, statistics."""
    return diff(_bank(request, bank), _bank(request, other))


@router.get(
    "/{bank}/classes",
    operation_id="list_bank_classes",
    response_model_exclude_none=True,
    responses=problem_responses(*REFUSED, "unknown-bank", "invalid"),
)
def list_classes(
    request: Request,
    bank: BankName,
    labelled: Annotated[bool, Query(description="Only classes that have labelled features.")] = False,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most classes per page.")] = 100,
) -> Page[BankClass]:
    """A bank's classes in the order of their indices, and how many labelled features each has."""
    found = _bank(request, bank)
    indices = found.labelled_classes if labelled else range(len(found.classes))
    start = position(cursor)
    page = [index for index in indices if index >= start][: limit + 1]
    return Page[BankClass](
        items=[
            BankClass(
                index=index,
                name=found.classes[index],
                core=len(found.core(index)),
                spurious=len(found.spurious(index)),
            )
            for index in page[:limit]
        ],
        next=str(page[limit]) if len(page) > limit else None,
    )


@router.get(
    "/{bank}/classes/{class_key}/features",
    operation_id="list_class_features",
    response_model_exclude_none=True,
    responses=problem_responses(*REFUSED, "unknown-bank", "not-found"),
)
def list_features(request: Request, bank: BankName, class_key: ClassKey) -> BankFeatures:
    """The labelled features of a class by rank, with pictures on which each is strong."""
    found = _bank(request, bank)
    index = _class_index(found, class_key)
    return BankFeatures(
        bank=BankReference(name=found.name, digest=found.digest),
        index=index,
        name=found.classes[index],
        features=[_feature(found, feature) for feature in found.features(index)],
    )


@router.get(
    "/{bank}/classes/{class_key}/features/{feature}/exemplars/{number}",
    operation_id="get_exemplar",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The picture.",
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}, "image/png": {}},
        },
        **problem_responses(*REFUSED, "unknown-bank", "not-found"),
    },
)
def get_exemplar(
    request: Request,
    bank: BankName,
    class_key: ClassKey,
    feature: Annotated[int, Path(description="Index of the neural feature.")],
    number: Annotated[int, Path(ge=0, description="Place among the feature's exemplars, from 0, strongest first.")],
) -> FileResponse:
    """A picture on which a feature is strong, where the bank's licence lets it be passed on."""
    found = _bank(request, bank)
    exemplars = found.exemplars(_class_index(found, class_key), feature)
    if number >= len(exemplars) or exemplars[number].picture is None:
        raise Problem("not-found", f"The bank ships no exemplar {number} of feature {feature}.", field="number")
    path = found.path / str(exemplars[number].picture)
    # Whoever made the bank chose the name: a page or a drawing with scripts must not be shown as one of ours.
    media_type = PICTURES.get(path.suffix.lower(), "application/octet-stream")
    # A bank's files never change under one digest; by name they may, so they are only kept for a while.
    headers = {"Cache-Control": "private, max-age=300", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=media_type, headers=headers)


def _bank(request: Request, name: str) -> Bank:
    banks: Banks = request.app.state.banks
    return banks.get(name)


def _class_index(bank: Bank, key: str) -> int:
    """A class in a path is a resource that is there or not, unlike one in a form, which is a value to be mended."""
    try:
        return bank.class_index(key)
    except UnknownClassError as error:
        raise Problem("not-found", str(error), field="class", remedy=error.remedy) from error


def _summary(banks: Banks, name: str) -> BankSummary:
    try:
        return describe(banks.get(name))
    except BankError as error:
        return BankSummary(name=name, problem=str(error))


def _version(banks: Banks, name: str, version: int) -> BankVersion:
    try:
        bank = banks.get(f"{name}@{version}")
        published = read_provenance(bank.card).published
    except BankError as error:
        return BankVersion(version=version, problem=str(error))
    manifest = bank.manifest
    return BankVersion(
        version=version, digest=bank.digest, parent=manifest.parent, title=manifest.title, published=published
    )


def describe(bank: Bank) -> BankSummary:
    """A bank as lists show it."""
    return BankSummary(
        name=bank.name,
        version=bank.manifest.version or 1,
        digest=bank.digest,
        title=bank.manifest.title,
        licence=bank.manifest.licence,
        classes=len(bank.classes),
        labelled_classes=len(bank.labelled_classes),
        features=len(bank.manifest.features),
        grouping=bank.manifest.grouping,
    )


def position(cursor: str | None) -> int:
    """Where a page of an indexed list begins. Raises `Problem`, `invalid`."""
    if cursor is None:
        return 0
    if not cursor.isdecimal():
        raise Problem("invalid", f"{cursor[:50]!r} is no cursor.", field="cursor", remedy="Use `next` of a page.")
    return int(cursor)


def _feature(bank: Bank, feature: Feature) -> BankFeature:
    statistics = feature.statistics
    return BankFeature(
        feature=feature.feature_index,
        rank=feature.rank,
        label=feature.label,
        kind=feature.kind,
        votes=feature.votes,
        importance=feature.importance,
        images=statistics.images,
        mean=statistics.mean,
        std=statistics.std,
        valid_from=statistics.valid_from,
        valid_to=statistics.valid_to,
        exemplars=[
            _exemplar(bank, number, exemplar)
            for number, exemplar in enumerate(bank.exemplars(feature.class_index, feature.feature_index))
        ],
    )


def _exemplar(bank: Bank, number: int, exemplar: Exemplar) -> ExemplarReference:
    path = f"/v1/banks/{quote(bank.name)}/classes/{exemplar.class_index}/features/{exemplar.feature_index}"
    return ExemplarReference(
        sample=exemplar.sample,
        activation=exemplar.activation,
        picture=f"{path}/exemplars/{number}" if exemplar.picture else None,
    )
