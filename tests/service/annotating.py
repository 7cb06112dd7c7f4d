"""Annotations for the tests of this room: started, with people invited, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Person:
    """An invited annotator at their browser."""

    http: httpx.Client
    name: str
    token: str
    invitation: str

    @property
    def headers(self) -> dict[str, str]:
        """What carries the invitation."""
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, rest: str = "", **parameters: str) -> httpx.Response:
        """Below `/v1/label`."""
        return self.http.get(f"/v1/label{rest}", params=parameters, headers=self.headers)

    def next(self, **parameters: str) -> dict[str, Any] | None:
        """The panel that is owed next, None where nothing is left."""
        answer = self.get("/next", **parameters)
        assert answer.status_code in (200, 204), answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    def answer(self, panel: str, kind: str = "main_object", **changes: Any) -> httpx.Response:
        """Answer a panel."""
        body = {"kind": kind, "confidence": 4, "reason": "because", "seconds": 5.5} | changes
        return self.http.put(f"/v1/label/answers/{panel}", json=body, headers=self.headers)

    def undo(self, panel: str) -> httpx.Response:
        """Take an answer back."""
        return self.http.delete(f"/v1/label/answers/{panel}", headers=self.headers)

    def validate(self, panel: str, **body: Any) -> httpx.Response:
        """Answer a row of the second round."""
        return self.http.put(f"/v1/label/validations/{panel}", json=body, headers=self.headers)


@dataclass
class Session:
    """An annotation, as its owner has it."""

    http: httpx.Client
    id: str

    def path(self, rest: str = "") -> str:
        """Below the annotation."""
        return f"/v1/annotations/{self.id}{rest}"

    def show(self) -> dict[str, Any]:
        """As of now."""
        return dict(self.http.get(self.path()).raise_for_status().json())

    def results(self, **parameters: Any) -> dict[str, Any]:
        """What the votes come to."""
        return dict(self.http.get(self.path("/results"), params=parameters).raise_for_status().json())

    def panels(self, **parameters: Any) -> list[dict[str, Any]]:
        """Its panels with their votes, all pages."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.http.get(self.path("/panels"), params=parameters | ({"cursor": cursor} if cursor else {}))
            found += page.raise_for_status().json()["items"]
            cursor = page.json()["next"]
            if cursor is None:
                return found

    def invite(self, name: str, **body: Any) -> Person:
        """Somebody with a link."""
        answer = self.http.post(self.path("/invitations"), json={"annotator": name} | body)
        assert answer.status_code == 201, answer.text
        return Person(self.http, name, answer.json()["token"], answer.json()["id"])

    def change(self, **body: Any) -> httpx.Response:
        """Change it."""
        return self.http.patch(self.path(), json=body)


def start(http: httpx.Client, draft: str, **body: Any) -> Session:
    """Start an annotation on a draft that is there."""
    answer = http.post("/v1/annotations", json={"draft": draft} | body)
    assert answer.status_code == 201, answer.text
    return Session(http, answer.json()["id"])
