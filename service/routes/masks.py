"""`POST /v1/masks`: where the core and the spurious features of a picture are, and what they contribute."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile

from models.bank import Bank
from service.answers import Answer
from service.auth import require
from service.banks import Banks
from service.engine import PictureTask
from service.media import best_media_type
from service.options import read_options
from service.problems import FieldError, Problem, problem_responses, request_id
from service.schemas import BankReference, Encoding, MasksAnswer, PictureAnswer, Size
from service.submission import Submission

router = APIRouter(tags=["masks"])

JSON, ZIP = "application/json", "application/zip"
EXAMPLE = {
    "bank": {"name": "planted", "digest": "sha256:5f1c..."},
    "size": "input",
    "pictures": [
        {
            "picture": 0,
            "name": "beetle.jpg",
            "width": 96,
            "height": 96,
            "seen": {"top": 0, "left": 0, "bottom": 96, "right": 96},
            "prediction": {"index": 3, "name": "beetle", "probability": 0.94},
            "classes": [
                {
                    "index": 3,
                    "name": "beetle",
                    "logit": 6.81,
                    "probability": 0.94,
                    "bias": 0.02,
                    "contributions": {"core": 2.11, "spurious": 3.9, "unlabelled": 0.78},
                    "labelled": True,
                    "features": [
                        {
                            "feature": 17,
                            "rank": 1,
                            "label": "spurious",
                            "kind": "background",
                            "votes": {"main_object": 0, "background": 5, "separate_object": 0},
                            "importance": 2.4,
                            "activation": 1.31,
                            "contribution": 2.9,
                            "valid": True,
                            "valid_from": 0.8,
                        }
                    ],
                    "masks": {
                        "core": {
                            "encoding": "png",
                            "height": 96,
                            "width": 96,
                            "data": "iVBORw0KGgo...",
                            "scale": 0.00392156862745098,
                            "zero": 0,
                        }
                    },
                }
            ],
        },
        {
            "picture": 1,
            "name": "notes.txt",
            "problem": {
                "type": "urn:cuecheck:problem:bad-picture",
                "title": "The picture cannot be used",
                "status": 422,
                "detail": "Not a picture in a known format (JPEG, PNG, ...).",
                "field": "pictures[1]",
            },
        },
    ],
}


@router.post(
    "/v1/masks",
    operation_id="create_masks",
    summary="Masks and contributions of pictures",
    dependencies=[Depends(require("infer"))],
    response_model=MasksAnswer,
    responses={
        200: {
            "description": "At least one picture was explained. One that failed has its own `problem` instead.",
            "content": {
                JSON: {"example": EXAMPLE},
                ZIP: {
                    "schema": {"type": "string", "format": "binary"},
                    "description": "`manifest.json`, which is the JSON answer, and the PNG and npz files it names.",
                },
            },
        },
        **problem_responses(
            "malformed",
            "unauthorised",
            "forbidden",
            "unknown-bank",
            "not-acceptable",
            "timeout",
            "too-large",
            "invalid",
            "unknown-class",
            "unknown-feature",
            "bad-picture",
            "no-picture-usable",
            "too-busy",
            "internal",
            "unavailable",
            "worker-lost",
            "deadline",
        ),
    },
)
async def create_masks(
    request: Request,
    pictures: Annotated[list[UploadFile], File(description="The pictures: JPEG, PNG, WebP, BMP, GIF, TIFF or PPM.")],
    bank: Annotated[str | None, Form(description="Name or digest of the bank; the default one if left out.")] = None,
    classes: Annotated[
        list[str],
        Form(
            description="Classes to explain: `predicted`, `top<k>`, names, indices; repeated, or with commas between.",
            examples=[["top3"], ["predicted", "beetle"]],
        ),
    ] = ["predicted"],  # noqa: B006  FastAPI copies it
    features: Annotated[
        list[str],
        Form(description="Labelled features that get a mask of their own: `all`, or indices; none if left out."),
    ] = [],  # noqa: B006
    maps: Annotated[
        list[str], Form(description="`masks` (soft, in [0, 1]) and/or `contributions` (signed, in logit units).")
    ] = ["masks"],  # noqa: B006
    size: Annotated[
        Size, Form(description="Pixels of the maps: the network's input, or the original (upright) picture.")
    ] = "input",
    encoding: Annotated[
        Encoding,
        Form(description="`png` (8 bits), `npz` (float16 masks, float32 contributions), `rle` (COCO, masks only)."),
    ] = "png",
    threshold: Annotated[float, Form(description="For `rle`: where the masks are cut.")] = 0.5,
) -> Response:
    """Explain one or more pictures: for every class asked for, where its core and spurious features are, and the exact
    split of its logit over features and pixels.

    JSON by default; `Accept: application/zip` gets the maps as files.
    """
    media_type = best_media_type(request.headers.get("accept"), (JSON, ZIP))
    settings = request.app.state.settings
    banks: Banks = request.app.state.banks
    name = bank or settings.default_bank
    chosen = banks.opened(name)
    if chosen is None:
        chosen = await asyncio.to_thread(banks.get, name)
    options = read_options(
        chosen,
        classes=classes,
        features=features,
        maps=maps,
        size=size,
        encoding=encoding,
        threshold=threshold,
        inline=media_type == JSON,
    )
    if len(pictures) > settings.max_pictures:
        raise Problem(
            "invalid",
            f"{len(pictures)} pictures are more than the {settings.max_pictures} one request may have.",
            field="pictures",
            remedy="Send them in several requests.",
        )
    tasks = [
        PictureTask(content=await picture.read(), index=index, name=picture.filename or None, options=options)
        for index, picture in enumerate(pictures)
    ]
    submission: Submission = request.app.state.submission
    answers = await submission.answers(tasks, request)
    if all(answer.problem for answer in answers):
        raise _common_problem([answer.problem for answer in answers if answer.problem])
    documents = _documents(tasks, answers, request_id(request.scope))
    body = _body(chosen, size, documents)
    if media_type == JSON:
        return Response(body, media_type=JSON)
    return Response(
        _archive(body, answers), media_type=ZIP, headers={"Content-Disposition": 'attachment; filename="masks.zip"'}
    )


def _common_problem(problems: Sequence[Problem]) -> Problem:
    """What a request fails with when every picture did: the gravest, which for one picture is its own."""
    gravest = max(problems, key=lambda problem: problem.status)
    if len(problems) == 1 or gravest.status >= 500:
        return gravest
    return Problem(
        "no-picture-usable",
        f"None of the {len(problems)} pictures can be used.",
        field="pictures",
        errors=[FieldError(field=problem.field or "pictures", detail=problem.detail) for problem in problems],
    )


def _documents(tasks: Sequence[PictureTask], answers: Sequence[Answer], instance: str | None) -> list[bytes]:
    documents = []
    for task, answer in zip(tasks, answers, strict=True):
        if answer.problem is None:
            documents.append(answer.document)
        else:
            failed = PictureAnswer(picture=task.index, name=task.name, problem=answer.problem.details(instance))
            documents.append(failed.model_dump_json(exclude_none=True).encode())
    return documents


def _body(bank: Bank, size: Size, documents: Sequence[bytes]) -> bytes:
    """The `MasksAnswer`, put together from what the worker wrote: maps are not parsed and written again here."""
    head = MasksAnswer(bank=BankReference(name=bank.name, digest=bank.digest), size=size, pictures=[])
    return head.model_dump_json().encode().removesuffix(b"[]}") + b"[" + b",".join(documents) + b"]}"


def _archive(manifest: bytes, answers: Sequence[Answer]) -> bytes:
    """A zip of the manifest and the files, which are compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("manifest.json", manifest)
        for answer in answers:
            for name, content in answer.files.items():
                archive.writestr(name, content)
    return buffer.getvalue()
