"""The client's calls for what jobs work on: data sets, classifiers and encoders."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.classifiers import ClassifierRecord
from jobs.datasets import DatasetRecord
from jobs.encoder_declaration import EncoderDeclaration
from jobs.encoder_record import EncoderRecord
from jobs.layouts import Layout
from models.classifiers.spec import ClassifierSpec
from service.wire import Source, Wire


class UploadClient:
    """A part of `Client`, which gives it the wire."""

    _wire: Wire

    def upload_dataset(
        self,
        archive: Source,
        name: str | None = None,
        idempotency_key: str | None = None,
        layout: Layout | None = None,
    ) -> DatasetRecord:
        """Upload a zip or tar of class folders; the same bytes give the same data set.

        Args:
            archive: The file.
            name: What to call it; the file's name where left out.
            idempotency_key: Makes it safe to send this call again.
            layout: How the names of its folders are read; recognised where left out.
        """
        fields = {key: value for key, value in (("name", name), ("layout", layout)) if value is not None}
        answer = self._wire.upload("/v1/datasets", archive, fields, idempotency_key)
        return DatasetRecord.model_validate_json(answer.content)

    def datasets(self) -> Iterator[DatasetRecord]:
        """All data sets."""
        return self._wire.items(DatasetRecord, "/v1/datasets")

    def dataset(self, dataset: str) -> DatasetRecord:
        """One data set, by id."""
        return self._wire.get(DatasetRecord, f"/v1/datasets/{dataset}")

    def delete_dataset(self, dataset: str) -> None:
        """Delete a data set; refused while an audit uses it."""
        self._wire.send("DELETE", f"/v1/datasets/{dataset}")

    def upload_classifier(
        self, file: Source, spec: ClassifierSpec, idempotency_key: str | None = None
    ) -> ClassifierRecord:
        """Upload a classifier, which is tried out before this returns; the same file and spec give the same one."""
        fields = {"spec": spec.model_dump_json(exclude_none=True)}
        answer = self._wire.upload("/v1/classifiers", file, fields, idempotency_key)
        return ClassifierRecord.model_validate_json(answer.content)

    def classifiers(self) -> Iterator[ClassifierRecord]:
        """All classifiers."""
        return self._wire.items(ClassifierRecord, "/v1/classifiers")

    def classifier(self, classifier: str) -> ClassifierRecord:
        """One classifier, by id."""
        return self._wire.get(ClassifierRecord, f"/v1/classifiers/{classifier}")

    def delete_classifier(self, classifier: str) -> None:
        """Delete a classifier; refused while an audit uses it."""
        self._wire.send("DELETE", f"/v1/classifiers/{classifier}")

    def upload_encoder(
        self, file: Source, spec: EncoderDeclaration, idempotency_key: str | None = None
    ) -> EncoderRecord:
        """Upload an encoder, which is tried out before this returns; the same weights and spec give the same one."""
        answer = self._wire.upload("/v1/encoders", file, {"spec": spec.model_dump_json()}, idempotency_key)
        return EncoderRecord.model_validate_json(answer.content)

    def encoders(self) -> Iterator[EncoderRecord]:
        """All encoders of the store; a bank's is `bank:<name>` and not listed."""
        return self._wire.items(EncoderRecord, "/v1/encoders")

    def encoder(self, encoder: str) -> EncoderRecord:
        """One encoder, by id."""
        return self._wire.get(EncoderRecord, f"/v1/encoders/{encoder}")

    def delete_encoder(self, encoder: str) -> None:
        """Delete an encoder; refused while a job uses it."""
        self._wire.send("DELETE", f"/v1/encoders/{encoder}")
