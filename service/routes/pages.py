"""The pages for people. They hold no data themselves: a browser asks the API for it, with the key it was given.

They need no sign-in form of their own. Where keys are asked for, the service answers a browser's first request with an
HTTP Basic challenge; the key is typed in as the password, and the browser sends it with everything the pages do.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGES = Path(__file__).resolve().parent.parent / "pages"

HEADERS = {
    # Nothing from other sites, nothing inline: what a file name or a class name might smuggle in has no way to run.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

REFERENCE_HEADERS = HEADERS | {
    # Swagger UI draws its icons from data: addresses in its style sheet.
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' data:")
}

_templates = Environment(
    loader=FileSystemLoader(PAGES / "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False
)


class _Assets(StaticFiles):
    """Scripts, styles and pictures; a browser asks each time whether they changed (ETag), so none goes stale."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


router = APIRouter(include_in_schema=False)
router.mount("/static", _Assets(directory=PAGES / "static"))
router.mount("/swagger", _Assets(packages=[("fastapi_swagger", "resources")]))


def _page(template: str, path: str) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(page=path), headers=HEADERS)


@router.get("/")
def try_a_picture() -> HTMLResponse:
    """Upload a picture and see its masks."""
    return _page("picture.html.j2", "/")


@router.get("/jobs")
def jobs() -> HTMLResponse:
    """What runs and what has run."""
    return _page("jobs.html.j2", "/jobs")


@router.get("/drafts")
def drafts() -> HTMLResponse:
    """The discoveries, and through them the drafts they left."""
    return _page("drafts.html.j2", "/drafts")


@router.get("/drafts/{discovery}")
def draft(discovery: str) -> HTMLResponse:
    """One draft, class by class; the page's script asks for the one that the address names."""
    return _page("draft.html.j2", "/drafts")


@router.get("/annotations")
def all_annotations() -> HTMLResponse:
    """The annotations, and a form to start one from a draft."""
    return _page("annotations.html.j2", "/annotations")


@router.get("/annotations/{annotation}")
def annotation(annotation: str) -> HTMLResponse:
    """One annotation for its owner, from the invitations to the published bank."""
    return _page("annotation.html.j2", "/annotations")


@router.get("/exports")
def all_exports() -> HTMLResponse:
    """The exports of masks, and a form to start one."""
    return _page("exports.html.j2", "/exports")


@router.get("/exports/{export}")
def export(export: str) -> HTMLResponse:
    """One export and its files; the page's script asks for the one that the address names."""
    return _page("export.html.j2", "/exports")


@router.get("/label")
def label() -> HTMLResponse:
    """What an invited annotator sees. The invitation is in the address's fragment, which no browser sends."""
    return _page("label.html.j2", "/label")


@router.get("/docs")
def reference() -> HTMLResponse:
    """Swagger UI from this host: FastAPI's own page has its scripts from another."""
    return HTMLResponse(_templates.get_template("reference.html.j2").render(), headers=REFERENCE_HEADERS)
