"""How a pass over a data set is cut: contiguous ranges of pictures, in files whose names say what made them."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field

FEWEST_SHARDS = 4
FEWEST_PICTURES = 64  # below it loading the models takes longer than a shard's pictures


class ShardPlan(BaseModel):
    """The shards of one job. `<folder>/<id>/plan.json`."""

    model_config = ConfigDict(frozen=True)

    job: str = Field(description="Id of the job, which is the digest of its inputs.")
    rows: int = Field(ge=1, description="Samples in the index of the data set.")
    pictures: int = Field(ge=1, description="Samples to look at, spread evenly over the index.")
    shards: int = Field(ge=1, description="Number of shards.")
    seed: int = Field(description="Of the choice of pictures, where not all are taken.")

    def positions(self, shard: int) -> range:
        """Which of the `pictures` belong to a shard."""
        return self.stretch(shard, self.pictures)

    def rows_of(self, shard: int) -> list[int]:
        """The index rows of a shard, ascending: one from each of `pictures` equal stretches of the index.

        Which one is drawn: every fifth row of an archive that goes round its ten classes would be of two of them. The
        draw is the same for all classifiers, so that they can be compared.
        """
        return [self._row(position) for position in self.positions(shard)]

    def _row(self, position: int) -> int:
        first, after = (at * self.rows // self.pictures for at in (position, position + 1))
        drawn = hashlib.blake2b(f"{self.seed} {position}".encode(), digest_size=8).digest()
        return first + int.from_bytes(drawn, "little") % (after - first)

    def stretch(self, shard: int, total: int) -> range:
        """Which rows of another data set, of `total` pictures, are looked at with a shard; each row with one."""
        return range(shard * total // self.shards, (shard + 1) * total // self.shards)

    def file(self, folder: str, shard: int, suffix: str = "parquet", part: str = "shards") -> str:
        """A file of the shard in the store, `folder` being that of its kind of job and `part` one below the job's.

        Another plan or job never gives the same.
        """
        positions = self.positions(shard)
        made_from = f"{self.job} {self.rows} {self.pictures} {positions.start} {positions.stop}"
        key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
        return f"{folder}/{self.job}/{part}/{shard:05d}-{key}.{suffix}"


def plan_shards(job: str, rows: int, max_pictures: int | None, shard_pictures: int, seed: int) -> ShardPlan:
    """Cut a job into shards of at most `shard_pictures`; a small one into up to four of at least 64.

    Args:
        job: Its id.
        rows: Samples in the data set, >= 1.
        max_pictures: Take at most this many; None for all.
        shard_pictures: As in the settings.
        seed: Of the request.
    """
    pictures = rows if max_pictures is None else min(rows, max_pictures)
    needed = -(-pictures // shard_pictures)
    useful = min(FEWEST_SHARDS, -(-pictures // FEWEST_PICTURES))
    return ShardPlan(job=job, rows=rows, pictures=pictures, shards=max(needed, useful), seed=seed)
