"""The client's calls for feature banks: what is there, banks made of banks, and banks as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO

from models.bank_diff import BankDiff
from service.schemas import BankClass, BankDetails, BankFeatures, BankList, BankSummary, BankVersions
from service.wire import Source, Wire


class BankClient:
    """A part of `Client`, which gives it the wire."""

    _wire: Wire

    def banks(self) -> BankList:
        """The feature banks."""
        return self._wire.get(BankList, "/v1/banks")

    def bank(self, bank: str) -> BankDetails:
        """One feature bank, by name, `name@version` or digest, with its card."""
        return self._wire.get(BankDetails, f"/v1/banks/{bank}")

    def bank_classes(self, bank: str) -> Iterator[BankClass]:
        """The classes of a bank."""
        return self._wire.items(BankClass, f"/v1/banks/{bank}/classes")

    def bank_features(self, bank: str, class_name: str) -> BankFeatures:
        """The labelled features of a class."""
        return self._wire.get(BankFeatures, f"/v1/banks/{bank}/classes/{class_name}/features")

    def bank_versions(self, bank: str) -> BankVersions:
        """All versions of a bank, the latest first."""
        return self._wire.get(BankVersions, f"/v1/banks/{bank}/versions")

    def diff_banks(self, bank: str, other: str) -> BankDiff:
        """What is different in another bank."""
        return self._wire.get(BankDiff, f"/v1/banks/{bank}/diff", params={"with": other})

    def export_bank(self, bank: str, target: IO[bytes]) -> str:
        """Write a whole bank as one file; the name that the service gives it, e.g. `birds@2.zip`."""
        with self._wire.stream(f"/v1/banks/{bank}/export") as answer:
            for piece in answer.iter_bytes(2**20):
                target.write(piece)
        return answer.headers["Content-Disposition"].partition('filename="')[2].rstrip('"')

    def import_bank(self, file: Source, name: str | None = None, idempotency_key: str | None = None) -> BankSummary:
        """Take a bank from a file, under another name if one is given; one that is here already is left as it is."""
        answer = self._wire.upload("/v1/banks", file, {"name": name} if name else {}, idempotency_key)
        return BankSummary.model_validate_json(answer.content)

    def rethreshold_bank(
        self, bank: str, threshold: int, of: int | None = None, name: str | None = None, key: str | None = None
    ) -> BankSummary:
        """Publish a bank decided anew by another threshold; its next version, or under another name."""
        return self._edit(bank, "rethreshold", {"threshold": threshold, "of": of, "name": name}, key)

    def rename_bank(self, bank: str, name: str, title: str | None = None, key: str | None = None) -> BankSummary:
        """Publish a bank under another name."""
        return self._edit(bank, "rename", {"name": name, "title": title}, key)

    def merge_banks(
        self,
        bank: str,
        other: str,
        name: str,
        title: str | None = None,
        threshold: int | None = None,
        of: int | None = None,
        key: str | None = None,
    ) -> BankSummary:
        """Publish the rows of two banks of the same network as one."""
        fields = {"with": other, "name": name, "title": title, "threshold": threshold, "of": of}
        return self._edit(bank, "merge", fields, key)

    def _edit(self, bank: str, action: str, fields: Mapping[str, object], idempotency_key: str | None) -> BankSummary:
        given = {name: value for name, value in fields.items() if value is not None}
        answer = self._wire.post(f"/v1/banks/{bank}/{action}", given, idempotency_key)
        return BankSummary.model_validate_json(answer.content)
