"""What the process of an uploaded classifier cannot see, do or leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from jobs.isolated_worker import MOST_BYTES_WRITTEN, MOST_OPEN_FILES
from jobs.isolation import ClassifierFailed, IsolatedClassifier, environment
from jobs.settings import Settings
from tests.networks import endless, pictures, pooled, spec

MEMORY = {f"/memfd:cuecheck-{part} (deleted)" for part in ("launch", "errors", "batch")}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, device="cpu", threads=1, classifier_seconds_per_batch=30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network"


def confined(code: str) -> str:
    """What `code` prints in a process that has gone through `confine`; `isolated` tells how that went."""
    program = "from jobs.isolated_worker import confine\nimport os\nisolated = confine(os.getppid())\n"
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", program + textwrap.dedent(code)],
        env=environment(1),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_no_secret_of_the_parent_s_environment_gets_in(
    file: Path, limits: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUECHECK_REDIS_URL", "CUECHECK_STORE_URL", "AWS_SECRET_ACCESS_KEY", "REDISCLI_AUTH"):
        monkeypatch.setenv(name, "hunter2")
    assert not any("hunter2" in value for value in environment(1).values())
    with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
        content = Path(f"/proc/{classifier.pid}/environ").read_bytes()
    names = {entry.partition(b"=")[0].decode() for entry in content.split(b"\0") if entry}
    assert names <= {*environment(1), "LC_CTYPE"}
    assert b"hunter2" not in content


def test_nothing_but_its_own_files_is_open_in_it(file: Path, limits: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
            opened = {link.name: str(link.readlink()) for link in Path(f"/proc/{classifier.pid}/fd").iterdir()}
    files = {target for target in opened.values() if target.startswith("/")}
    assert files <= {"/dev/null", *MEMORY}
    assert sum(target.startswith("socket:") for target in opened.values()) == 1


def test_the_network_is_out_of_reach_where_the_kernel_allows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = confined(f"""
            import socket
            if not isolated:
                print("kernel refuses")
            else:
                try:
                    socket.create_connection(("127.0.0.1", {port}), 5)
                except OSError as error:
                    print("unreachable")
        """)
    if answer == "kernel refuses":
        pytest.skip("this kernel or container engine does not let a user make namespaces")
    assert answer == "unreachable"


def test_the_parent_s_environment_cannot_be_read_where_the_kernel_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = confined(f"""
        try:
            print(len(open("/proc/{os.getpid()}/environ", "rb").read()), isolated)
        except PermissionError:
            print("denied", isolated)
    """)
    if answer.endswith("False"):
        pytest.skip("this kernel or container engine does not let a user make namespaces")
    assert answer == "denied True"


def test_whether_the_network_is_gone_is_reported_truly(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
        ours, theirs = (Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", classifier.pid))
        assert classifier.network_isolated == (ours != theirs)


def test_its_limits_are_set(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
        process = psutil.Process(classifier.pid)
        allowed = limits.classifier_memory_bytes
        assert allowed < process.rlimit(psutil.RLIMIT_AS)[0] < allowed + 2**30
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (MOST_BYTES_WRITTEN, MOST_BYTES_WRITTEN)
        assert process.rlimit(psutil.RLIMIT_NOFILE) == (MOST_OPEN_FILES, MOST_OPEN_FILES)
        assert 0 < process.rlimit(psutil.RLIMIT_CPU)[0] <= limits.classifier_dry_run_seconds + 60
        status = Path(f"/proc/{classifier.pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert Path(f"/proc/{classifier.pid}/oom_score_adj").read_text().strip() == "1000"
        assert os.getsid(classifier.pid) == classifier.pid != os.getsid(0)


def test_it_cannot_write_more_than_a_few_lines() -> None:
    answer = confined("""
        import tempfile
        with tempfile.TemporaryFile() as file:
            try:
                file.write(bytes(2**20))
                file.flush()
            except OSError as error:
                print(error.strerror)
                file.truncate(0)
                os._exit(0) if not print(end="", flush=True) else None
    """)
    assert answer == "File too large"


def test_it_dies_with_a_parent_that_is_killed_in_mid_batch_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    endless(file)
    program = f"""
        from pathlib import Path
        from jobs.isolation import IsolatedClassifier
        from jobs.settings import Settings
        from tests.networks import pictures, spec
        limits = Settings(data_dir=Path({str(tmp_path)!r}), device="cpu", threads=1)
        with IsolatedClassifier(Path({str(file)!r}), spec(), limits) as classifier:
            print(classifier.pid, flush=True)
            classifier.predict(pictures(1))
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), "HOME": str(scratch)},
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    gone, alive = psutil.wait_procs([child], timeout=60)
    assert (len(gone), alive) == (1, [])
    assert list(scratch.iterdir()) == []


def test_a_process_out_of_cpu_time_ends_by_itself() -> None:
    """Should the parent be stopped, or lose the clock, it does not run for ever."""
    program = "from jobs.isolated_worker import limit_seconds\nlimit_seconds(0.1)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-P", "-c", program], env=environment(1), timeout=60)
    assert done.returncode == -signal.SIGXCPU


def test_running_out_of_cpu_time_is_a_timeout(file: Path, limits: Settings) -> None:
    with IsolatedClassifier(pooled(file), spec(), limits) as classifier:
        os.kill(classifier.pid, signal.SIGXCPU)
        with pytest.raises(ClassifierFailed) as failed:
            classifier.predict(pictures(1))
    assert failed.value.reason == "timeout"
