"""The Open Inference Protocol (V2): the mask service as a model that any client of that protocol can call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from jobs.version import code_version
from models.bank import Bank
from service.auth import require
from service.banks import Banks
from service.engine import PictureTask
from service.options import MaskOptions
from service.problems import Problem, problem_responses
from service.routes.health import LONGEST_BATCH
from service.status import healthy_workers
from service.submission import Submission
from service.tensors import LENGTH_HEADER, InferAnswer, InferRequest, Message, WantedOutput, answer

router = APIRouter(prefix="/v2", tags=["v2"])

IMAGE, PIXELS = "image", "pixels"
OUTPUTS = ("masks", "phi", "logits", "class")
BINARY = "application/octet-stream"
BankName = Annotated[str, Path(description="Name, `name@version` or digest of a feature bank.")]
Version = Annotated[str, Path(description="Number or digest of one of its versions.", examples=["1"])]
ELSEWHERE = ("classification", "shared_memory_region")
"""Parameters of outputs that ask for another answer, by extensions that are not spoken here."""
FOUND = problem_responses("unauthorised", "forbidden", "unknown-bank", "invalid")
READY = {**FOUND, **problem_responses("unavailable")}
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
            BINARY: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
INFER_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {BINARY: {"schema": {"type": "string", "format": "binary"}}}},
    **problem_responses(
        "malformed",
        "unauthorised",
        "forbidden",
        "unknown-bank",
        "timeout",
        "too-large",
        "unsupported-media",
        "invalid",
        "unknown-class",
        "bad-picture",
        "too-busy",
        "internal",
        "unavailable",
        "worker-lost",
        "deadline",
    ),
}


class ServerMetadata(BaseModel):
    """What serves."""

    name: Literal["cuecheck"] = "cuecheck"
    version: str
    extensions: list[str] = ["binary_tensor_data"]


class TensorMetadata(BaseModel):
    """A tensor that goes in or comes out; -1 stands for any length."""

    name: str
    datatype: Literal["BYTES", "FP32", "INT64"]
    shape: list[int]


class ModelMetadata(BaseModel):
    """A bank as a model."""

    name: str
    versions: list[str]
    platform: Literal["cuecheck"] = "cuecheck"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Live(BaseModel):
    """The process answers."""

    live: Literal[True] = True


class Ready(BaseModel):
    """Whether pictures can be answered."""

    ready: bool


class ModelReady(BaseModel):
    """A bank that can be answered with."""

    name: str
    ready: Literal[True] = True


@router.get("", operation_id="v2_server", dependencies=[Depends(require("infer"))], responses=FOUND)
def server_metadata() -> ServerMetadata:
    """Name, version and extensions of the server."""
    return ServerMetadata(version=code_version())


@router.get("/health/live", operation_id="v2_live")
def live() -> Live:
    """The API process answers. Needs no key."""
    return Live()


@router.get(
    "/health/ready",
    operation_id="v2_ready",
    responses={503: {"model": Ready, "description": "No model worker can answer."}},
)
def ready(request: Request, response: Response) -> Ready:
    """A model worker can answer. Needs no key."""
    found = _is_ready(request)
    response.status_code = 200 if found else 503
    return Ready(ready=found)


@router.get("/models/{bank}", operation_id="v2_model", dependencies=[Depends(require("infer"))], responses=FOUND)
def model_metadata(request: Request, bank: BankName) -> ModelMetadata:
    """Tensors of a bank. Exactly one of the two inputs is sent."""
    return _metadata(_bank(request, bank))


@router.get(
    "/models/{bank}/versions/{version}",
    operation_id="v2_model_version",
    dependencies=[Depends(require("infer"))],
    responses=FOUND,
)
def version_metadata(request: Request, bank: BankName, version: Version) -> ModelMetadata:
    """Tensors of one version of a bank."""
    return _metadata(_bank(request, bank, version))


@router.get(
    "/models/{bank}/ready", operation_id="v2_model_ready", dependencies=[Depends(require("infer"))], responses=READY
)
def model_ready(request: Request, bank: BankName) -> ModelReady:
    """The bank is there and a model worker can answer."""
    return _readiness(request, _bank(request, bank))


@router.get(
    "/models/{bank}/versions/{version}/ready",
    operation_id="v2_model_version_ready",
    dependencies=[Depends(require("infer"))],
    responses=READY,
)
def version_ready(request: Request, bank: BankName, version: Version) -> ModelReady:
    """This version of the bank is there and a model worker can answer."""
    return _readiness(request, _bank(request, bank, version))


@router.post(
    "/models/{bank}/infer",
    operation_id="v2_infer",
    dependencies=[Depends(require("infer"))],
    response_model=InferAnswer,
    openapi_extra=INFER_BODY,
    responses=INFER_ANSWERS,
)
async def infer(request: Request, bank: BankName) -> Response:
    """Masks, features and logits of pictures as tensors, through the same queue as `POST /v1/masks`.

    One picture that cannot be used fails the request: tensors have no place for its problem.
    """
    return await _infer(request, await asyncio.to_thread(_bank, request, bank))


@router.post(
    "/models/{bank}/versions/{version}/infer",
    operation_id="v2_infer_version",
    dependencies=[Depends(require("infer"))],
    response_model=InferAnswer,
    openapi_extra=INFER_BODY,
    responses=INFER_ANSWERS,
)
async def infer_version(request: Request, bank: BankName, version: Version) -> Response:
    """The same by one version of a bank."""
    return await _infer(request, await asyncio.to_thread(_bank, request, bank, version))


async def _infer(request: Request, chosen: Bank) -> Response:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        remedy = "Send it as it is: pictures are compressed already."
        raise Problem("unsupported-media", f"The body is {encoding[:20]}.", field="Content-Encoding", remedy=remedy)
    message = await asyncio.to_thread(Message, await request.body(), request.headers.get(LENGTH_HEADER))
    wanted = _wanted(message.request)
    options = _options(chosen, message.request, wanted)
    contents = _pictures(chosen, message, request.app.state.settings.max_pictures)
    tasks = [PictureTask(content, index, None, options) for index, content in enumerate(contents)]
    submission: Submission = request.app.state.submission
    answers = await submission.answers(tasks, request)
    problems = [one.problem for one in answers if one.problem]
    if problems:
        raise max(problems, key=lambda problem: problem.status)
    arrays = {name: np.stack([one.arrays[name] for one in answers]) for name in options.arrays}
    head = InferAnswer(model_name=chosen.name, model_version=chosen.digest, id=message.request.id, outputs=[])
    binary = bool(message.request.parameters.get("binary_data_output", False))
    body, headers = await asyncio.to_thread(answer, head, arrays, wanted, binary)
    return Response(body, headers=headers)


def _metadata(found: Bank) -> ModelMetadata:
    side = found.manifest.backbone.preprocessing.size
    return ModelMetadata(
        name=found.name,
        versions=[found.digest],
        inputs=[
            TensorMetadata(name=IMAGE, datatype="BYTES", shape=[-1]),
            TensorMetadata(name=PIXELS, datatype="FP32", shape=[-1, 3, side, side]),
        ],
        outputs=[
            TensorMetadata(name="masks", datatype="FP32", shape=[-1, 2, side, side]),
            TensorMetadata(name="phi", datatype="FP32", shape=[-1, -1]),
            TensorMetadata(name="logits", datatype="FP32", shape=[-1, len(found.classes)]),
            TensorMetadata(name="class", datatype="INT64", shape=[-1]),
        ],
    )


def _readiness(request: Request, found: Bank) -> ModelReady:
    if not _is_ready(request):
        raise Problem("unavailable", "No model worker can answer now.", headers={"Retry-After": "5"})
    return ModelReady(name=found.name)


def _bank(request: Request, name: str, version: str | None = None) -> Bank:
    """The bank of a name, `name@version` or digest; of a further version, where that is named apart."""
    banks: Banks = request.app.state.banks
    named = banks.get(name)
    if version is None:
        return named
    found = banks.get(version if version.startswith("sha256:") else f"{named.name}@{version}")
    if found.name != named.name:
        raise Problem(
            "unknown-bank", f"{version[:100]!r} is a version of the bank {found.name!r}, not of {named.name!r}."
        )
    return found


def _is_ready(request: Request) -> bool:
    state = request.app.state
    workers = healthy_workers(state.folder, LONGEST_BATCH * state.settings.deadline_seconds)
    return any(worker.banks for worker in workers)


def _wanted(request: InferRequest) -> list[WantedOutput]:
    if request.outputs is None:
        return [WantedOutput(name=name) for name in OUTPUTS]
    for place, output in enumerate(request.outputs):
        if output.name not in OUTPUTS:
            raise Problem(
                "invalid",
                f"There is no output {output.name[:100]!r}.",
                field=f"outputs[{place}].name",
                remedy=f"Use {', '.join(OUTPUTS)}.",
            )
        for parameter in ELSEWHERE:
            if parameter in output.parameters:
                raise Problem(
                    "invalid",
                    f"Outputs are given whole and in the answer; there is no {parameter!r} here.",
                    field=f"outputs[{place}].parameters.{parameter}",
                    remedy="Leave it out.",
                )
    return request.outputs


def _options(bank: Bank, request: InferRequest, wanted: Sequence[WantedOutput]) -> MaskOptions:
    """What the engine computes: masks of the class named by the parameter `class`, else of the predicted one."""
    named = request.parameters.get("class")
    if named is not None and not isinstance(named, str | int):
        raise Problem("invalid", "The parameter `class` is a name or an index.", field="parameters.class")
    return MaskOptions(
        bank=bank.digest,
        top=1 if named is None else 0,
        classes=() if named is None else (bank.class_index(str(named)),),
        features=(),
        masks=any(output.name == "masks" for output in wanted),
        contributions=False,
        size="input",
        encoding="npz",
        threshold=0.5,
        inline=True,
        arrays=tuple(dict.fromkeys(output.name for output in wanted)),
    )


def _pictures(bank: Bank, message: Message, most: int) -> list[bytes | NDArray[np.uint8]]:
    """The pictures of the one input: files, or pixels as the network takes them."""
    if len(message.request.inputs) != 1:
        raise Problem("invalid", f"Send either {IMAGE} or {PIXELS}.", field="inputs")
    (tensor,) = message.request.inputs
    if tensor.shape[0] > most:
        raise Problem(
            "invalid",
            f"{tensor.shape[0]} pictures are more than the {most} one request may have.",
            field="inputs[0].shape",
            remedy="Send them in several requests.",
        )
    given: Any = message.array(tensor.name)
    if (tensor.name, tensor.datatype) == (IMAGE, "BYTES"):
        return list(given)
    if (tensor.name, tensor.datatype) != (PIXELS, "FP32"):
        raise Problem(
            "invalid",
            f"There is no input {tensor.name[:100]!r} of the datatype {tensor.datatype}.",
            field="inputs[0]",
            remedy=f"Send {IMAGE} as BYTES or {PIXELS} as FP32.",
        )
    side = bank.manifest.backbone.preprocessing.size
    if given.shape[1:] != (3, side, side):
        raise Problem(
            "invalid",
            f"Pixels of the shape {list(given.shape)} are not [N, 3, {side}, {side}].",
            field="inputs[0].shape",
        )
    if not ((given >= 0) & (given <= 1)).all():
        raise Problem("invalid", "Pixels lie in [0, 1].", field="inputs[0].data")
    return list(np.rint(255 * given).astype(np.uint8))
