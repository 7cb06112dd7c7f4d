"""`cuecheck annotate`: from a draft to its results on the command line, and a bank published over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from jobs.annotation_publication import PublishRequest
from jobs.store import Store, file_sha256
from models.bank import WEIGHTS, Bank
from models.components import Components
from models.draft import Draft
from service.client import Client
from service.client_errors import Refused
from tests.models.conftest import CLASSES
from tests.service.annotating import Session
from tests.service.conftest import RunningServer
from tests.service.drafts import WIDTH, write_draft
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]

JOB = "a5" * 16
NAME = "annotated"
PANELS = 3 * (len(CLASSES) - 1) + 1


@pytest.fixture(scope="module")
def draft(server: RunningServer, tiny_bank: Bank) -> Iterator[Draft]:
    """A draft of the tiny bank's backbone; what is published of it goes at the end."""
    store = Store.from_settings(server.settings)
    made = write_draft(store, JOB, CLASSES).model_copy(
        update={"encoder_id": f"bank:{tiny_bank.digest}", "weights_digest": file_sha256(tiny_bank.path / WEIGHTS)}
    )
    store.write_bytes(f"discoveries/{JOB}/draft.json", made.model_dump_json().encode())
    with store.scratch_file() as local:
        Components(torch.randn(len(CLASSES), WIDTH), torch.zeros(len(CLASSES))).save(local)
        store.write_file(f"discoveries/{JOB}/components.safetensors", local)
    yield made
    for folder in (server.settings.banks_dir / NAME, server.settings.banks_dir / ".versions" / NAME):
        shutil.rmtree(folder, ignore_errors=True)


def test_an_annotation_on_the_command_line(
    asking: Run, draft: Draft, server: RunningServer, http: httpx.Client, tmp_path: Path
) -> None:
    started = asking("annotate", "start", JOB, "--title", "[bold]birds", "--answers", "2", "--threshold", "1")
    assert started.code == 0, started
    annotation = started.stdout.strip()
    invited = asking("annotate", "invite", annotation, "Ada", "Ben [x]")
    links = [line.split(maxsplit=1) for line in invited.stdout.splitlines()]
    assert [name for _, name in links] == ["Ada", "Ben [x]"]
    assert all(link.startswith(f"{server.url}/label#cci_") for link, _ in links)
    tokens = [link.rpartition("#")[2] for link, _ in links]

    with Client(server.url, tokens[0]) as ada, Client(server.url, tokens[1]) as ben:
        assert ada.label.session().annotator == "Ada"
        seen: str | None = None
        while (panel := ada.label.next(seen)) is not None:
            assert ada.label.picture(panel.panel_href).startswith(b"\xff\xd8")
            ada.label.answer(panel.panel, "main_object", 5, "It is the thing itself.", 2.5)
            seen = panel.panel
        ben.label.answer("0-0", "background", 3, "grass")
        assert ben.label.undo("0-0").done == 0
        assert ben.label.answer("0-0", "background", 3, "grass").done == 1

    shown = asking("annotate", "status", annotation).stdout
    assert "[bold]birds" in shown
    assert f"{PANELS}, of which 1 complete" in shown
    assert "Ben [x]" in shown
    found = asking("annotate", "results", annotation, "--threshold", "2").stdout
    assert "would change 1: 0-0" in " ".join(found.split())
    assert f"lacking {PANELS - 1} answers on {PANELS - 1} panels" in " ".join(found.split())
    assert "0-0" in asking("annotate", "results", annotation).stdout
    assert "1 panels" in asking("annotate", "more", annotation, "--answers", "1").stdout

    for kind in ("csv", "json"):
        file = tmp_path / f"votes.{kind}"
        assert asking("annotate", "votes", "export", annotation, str(file)).code == 0
        assert "0 new" in asking("annotate", "votes", "import", annotation, str(file)).stdout
    assert asking("annotate", "votes", "export", annotation, "votes.txt").code == 2

    publishing = ("annotate", "publish", annotation, "--name", NAME, "--title", "Birds", "--licence", "CC0-1.0")
    early = asking(*publishing)
    assert early.code == 1
    assert f"{PANELS - 1} answers are lacking" in early.stderr
    assert asking("annotate", "validate", annotation).code == 1
    assert "closed" in asking("annotate", "close", annotation).stdout
    with Client(server.url, tokens[1]) as ben, pytest.raises(Refused, match="closed"):
        ben.label.answer("0-1", "main_object", 3, "late")
    assert "open" in asking("annotate", "close", annotation, "--reopen").stdout

    with Client(server.url, tokens[1]) as ben:
        for panel in Session(http, annotation).panels(filter="open"):
            ben.label.answer(panel["panel"], "separate_object", 4, "a leaf")
    done = asking(*publishing)
    assert done.code == 0, done
    assert f"bank {NAME}, version 1" in done.stdout
    assert f"{NAME}@1" in asking("annotate", "list").stdout
    with Client(server.url) as client:
        published = client.annotations.get(annotation).published
        assert published is not None
        bank = client.bank(NAME)
        assert (bank.digest, bank.features) == (published.digest, PANELS)
        again = PublishRequest(name=NAME, title="Birds", licence="CC0-1.0")
        with pytest.raises(Refused, match="published"):
            client.annotations.publish(annotation, again)
    assert http.patch(f"/v1/annotations/{annotation}", json={"threshold": 2}).status_code == 409
    second = asking("annotate", "from-bank", NAME)
    assert second.code == 0, second
    shown = asking("annotate", "status", second.stdout.strip()).stdout
    assert f"{PANELS}, of which {PANELS} complete" in shown, "its answers are there from the start"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["start", "0" * 32], 1, "no job"),
        (["start", JOB, "--answers", "2", "--threshold", "3"], 1, "threshold"),
        (["start", JOB, "--answers", "0"], 2, "answers"),
        (["status", "0" * 12], 1, "no annotation"),
        (["from-bank", "nobody"], 1, "no bank"),
        (["from-bank", "planted"], 1, "not at hand"),
        (["publish", "0" * 12, "--name", "Birds!", "--title", "x", "--licence", "x"], 2, "name"),
        (["publish", "0" * 12], 2, "--name"),
    ],
)
def test_what_does_not_fit_is_said(asking: Run, draft: Draft, arguments: list[str], code: int, said: str) -> None:
    done = asking("annotate", *arguments)
    assert done.code == code, done
    assert said in done.stderr
