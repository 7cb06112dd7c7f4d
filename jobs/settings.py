"""Every setting of Cuecheck, for the service, the workers and the command line alike.

`python -m jobs.settings` prints this page's contents as Markdown; `docs/settings.md` is that output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.addresses import networks

PREFIX = "CUECHECK_"
KIB, MIB, GIB = 2**10, 2**20, 2**30


def _expand(path: Path) -> Path:
    return path.expanduser().absolute()


def _networks(text: str) -> str:
    networks(text)
    return text


Folder = Annotated[Path, AfterValidator(_expand)]
Networks = Annotated[str, AfterValidator(_networks)]


class Settings(BaseSettings):
    """Read from the environment: field `data_dir` is `CUECHECK_DATA_DIR`. Explicit arguments win over it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    # --- Places
    data_dir: Folder = Field(
        Path("~/.local/share/cuecheck"),
        description="Folder for everything kept on this machine.",
        json_schema_extra={"group": "Places", "shown": "~/.local/share/cuecheck"},
    )
    store_url: str = Field(
        default_factory=lambda data: f"file://{data['data_dir']}/store",
        description="Where data sets, classifiers, audits and keys are kept: any fsspec URL, such as "
        "`s3://bucket/cuecheck` (then install the fsspec driver of that scheme).",
        json_schema_extra={"shown": "file://<data_dir>/store"},
    )
    scratch_dir: Folder = Field(
        default_factory=lambda data: data["data_dir"] / "scratch",
        description="Folder for files in transit (uploads, copies of remote files). A local store keeps its own.",
        json_schema_extra={"shown": "<data_dir>/scratch"},
    )
    banks_dir: Folder = Field(
        default_factory=lambda data: data["data_dir"] / "banks",
        description="Folder with further feature banks, one sub-folder each, beside the built-in ones.",
        json_schema_extra={"shown": "<data_dir>/banks"},
    )
    catalogue: Folder | None = Field(
        None,
        description="TOML file with further encoders for `cuecheck encoder pull`, beside the built-in ones.",
    )
    default_bank: str = Field("planted", description="Bank used when a request names none.")

    # --- Redis
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis of the job queue: `redis://`, `rediss://` (TLS) or `unix://` URL.",
        json_schema_extra={"group": "Redis"},
    )
    queue: str = Field(
        "cuecheck", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the RQ queue workers listen to."
    )

    # --- HTTP
    host: str = Field("127.0.0.1", description="Address the service binds.", json_schema_extra={"group": "HTTP"})
    port: int = Field(8765, ge=1024, le=65535, description="Port the service binds.")
    auth: Literal["auto", "on", "off"] = Field(
        "auto",
        description="API keys: `auto` asks for them unless the service is bound to a loopback address.",
    )
    max_body_bytes: int = Field(32 * MIB, ge=1, description="Largest body of a request for masks, bytes.")
    max_upload_bytes: int = Field(4 * GIB, ge=1, description="Largest uploaded data set, classifier or encoder, bytes.")
    max_pictures: int = Field(64, ge=1, description="Most pictures in one request for masks.")
    max_pixels: int = Field(50_000_000, ge=1, description="Most pixels (width x height) of one picture.")
    max_queue: int = Field(256, ge=1, description="Most pictures waiting for the model; past it requests get 429.")
    deadline_seconds: float = Field(30.0, gt=0, description="Longest a request for masks may take, seconds.")
    idle_seconds: float = Field(
        30.0, ge=1, description="Longest pause of a client in its body, or in taking its answer, seconds."
    )
    batch_size: int = Field(8, ge=1, description="Most pictures in one forward of the mask service.")
    batch_timeout: float = Field(0.002, ge=0, description="Longest wait to fill a batch, seconds.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people or for machines.")

    # --- Models
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where models run: `auto` takes CUDA where it works, `cuda` fails rather than fall back.",
        json_schema_extra={"group": "Models"},
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Arithmetic of the backbone; `auto` takes the fastest that keeps masks within 2/255."
    )
    runtime: Literal["auto", "torch", "onnxruntime"] = Field("auto", description="What runs the backbone.")
    compile: bool = Field(False, description="Compile the backbone with torch.compile (slow first forward).")
    threads: int | None = Field(None, ge=1, description="CPU threads of one model process; unset: all cores.")

    # --- Data sets
    max_archive_entries: int = Field(
        2_000_000,
        ge=1,
        description="Most members of an uploaded archive.",
        json_schema_extra={"group": "Data sets"},
    )
    max_archive_bytes: int = Field(256 * GIB, ge=1, description="Most bytes an archive may inflate to.")
    max_archive_ratio: float = Field(
        200.0, gt=1, description="Most bytes an archive, or one member of it over 1 MiB, may inflate to, per byte."
    )
    max_member_bytes: int = Field(64 * MIB, ge=1, description="Largest member of an archive, inflated, bytes.")

    # --- Audits
    shard_pictures: int = Field(
        2000,
        ge=1,
        description="Most pictures in one shard of an audit, the unit of work that is lost when a worker dies. "
        "Small data sets are cut finer, so that progress shows and several workers help.",
        json_schema_extra={"group": "Audits"},
    )
    max_jobs: int = Field(1000, ge=1, description="Most audits queued or running; past it submitting gets 429.")
    max_attempts: int = Field(3, ge=1, description="Times one shard is tried before its audit fails.")
    shard_timeout_seconds: int = Field(
        6 * 3600, ge=1, description="Longest one shard may run before its process is stopped, seconds."
    )
    training_timeout_seconds: int = Field(
        7 * 24 * 3600,
        ge=1,
        description="Longest a training may run before its process is stopped, seconds; tried again, it goes on from "
        "its last epoch.",
    )
    lease_seconds: float = Field(
        15.0, ge=1, description="A running shard not heard of for this long counts as lost, seconds."
    )
    sweep_seconds: float = Field(5.0, gt=0, description="Pause between two searches for lost shards, seconds.")
    classifier_memory_bytes: int = Field(
        4 * GIB,
        ge=1,
        description="Memory an uploaded classifier may take beyond its runtime and three times its file, bytes.",
    )
    classifier_seconds_per_batch: float = Field(
        60.0, gt=0, description="Longest an uploaded classifier may take for one batch, seconds."
    )
    classifier_dry_run_seconds: float = Field(
        60.0,
        gt=0,
        description="Longest a classifier may take to open, and longest its whole trial run on upload, seconds.",
    )
    classifier_cpu_nodes: bool = Field(
        True,
        description="On CUDA, let single ONNX operators without a CUDA kernel run on the CPU. CUDA itself not to be "
        "had is an error either way.",
    )

    # --- Webhooks
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="Root under which others reach the service, for the links in events; unset: links are paths.",
        json_schema_extra={"group": "Webhooks"},
    )
    webhook_allowed_networks: Networks = Field(
        "",
        description="Networks that webhooks may call although they are private, loopback or link-local, such as "
        "`10.1.0.0/16,127.0.0.0/8`; empty: public addresses only.",
    )
    webhook_attempts: int = Field(10, ge=1, le=50, description="Times an event is sent before it is given up.")
    webhook_retry_seconds: float = Field(
        5.0,
        gt=0,
        description="Pause before an event is sent a second time, seconds; four times as long before every further "
        "time, up to 4 hours, each varied by half.",
    )

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for processes started on their behalf."""
        values = self.model_dump(mode="json")
        return {f"{PREFIX}{name}".upper(): str(value) for name, value in values.items() if value is not None}


def _constraints(field: FieldInfo) -> str:
    shown = {"ge": ">= ", "gt": "> ", "le": "<= ", "lt": "< "}
    parts = [
        f"{sign}{getattr(constraint, name)}"
        for constraint in field.metadata
        for name, sign in shown.items()
        if hasattr(constraint, name)
    ]
    return ", ".join(parts)


def _default(field: FieldInfo, extra: dict[str, Any]) -> str:
    value = extra.get("shown", field.default)
    if value == "":
        return "empty"
    return "unset" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(f"`{choice}`" for choice in choices)
    return _constraints(field)


def markdown() -> str:
    """`docs/settings.md`: one table of variables per group, in the order of the fields."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable, read at start by the service, the workers and the command line.",
        "This page is printed by `python -m jobs.settings`.",
    ]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if "group" in extra:
            lines += ["", f"## {extra['group']}", "", "| Variable | Default | Values | Meaning |", "|---|---|---|---|"]
        lines.append(
            f"| `{PREFIX}{name.upper()}` | {_default(field, extra)} | {_values(field)} | {field.description} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
