"""Archives are walked with limits; what must not be read is told with its reason, and nothing is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.archive_member import Member
from jobs.archives import ArchiveLimits, detect_format, read_member, unpack_tar, walk
from jobs.errors import Invalid, JobsError, LimitExceeded

CONTENT = {"a/1.jpg": b"first" * 100, "a/2.jpg": b"", "b/ü ñ.jpg": b"third", "x" * 120 + "/" + "y" * 120: b"4"}


def make_zip(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, content: dict[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def contents(path: Path, kind: str, limits: ArchiveLimits) -> dict[str, bytes]:
    with path.open("rb") as file:
        return {member.name: read_member(file, member) for member in walk(path, kind, limits)}


def problems(path: Path, limits: ArchiveLimits) -> dict[str, str | None]:
    return {member.name: member.problem for member in walk(path, detect_format(path), limits)}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_read_by_range(tmp_path: Path, limits: ArchiveLimits, compression: int) -> None:
    path = make_zip(tmp_path / "a", CONTENT, compression)
    assert detect_format(path) == "zip"
    assert contents(path, "zip", limits) == CONTENT


def test_a_zip_may_stand_behind_other_bytes_and_before_a_comment(tmp_path: Path, limits: ArchiveLimits) -> None:
    path = make_zip(tmp_path / "a", CONTENT)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\x05 is not the end"
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())
    assert contents(path, "zip", limits) == CONTENT


def test_zip64_is_read(tmp_path: Path, limits: ArchiveLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # zipfile writes a zip64 directory from three members on
    path = make_zip(tmp_path / "a", CONTENT)
    with zipfile.ZipFile(path, "a") as archive, archive.open("a/9.jpg", "w", force_zip64=True) as member:
        member.write(b"data")
    assert b"PK\x06\x06" in path.read_bytes()
    assert contents(path, "zip", limits) == CONTENT | {"a/9.jpg": b"data"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_members_are_read_by_range(tmp_path: Path, limits: ArchiveLimits, form: int) -> None:
    content = {name: data for name, data in CONTENT.items() if len(name) < 200 or form != tarfile.USTAR_FORMAT}
    path = make_tar(tmp_path / "a", content, form)
    assert detect_format(path) == "tar"
    assert contents(path, "tar", limits) == content


@pytest.mark.parametrize(("kind", "mode"), [("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")])
def test_compressed_tars_are_made_plain(tmp_path: Path, limits: ArchiveLimits, kind: str, mode: str) -> None:
    content = {f"a/{n}.jpg": random.Random(n).randbytes(n * 1000) for n in range(60)}
    path = make_tar(tmp_path / "a", content, mode=mode)
    assert detect_format(path) == kind
    unpack_tar(path, kind, tmp_path / "plain", limits)
    assert contents(tmp_path / "plain", "tar", limits) == content


def test_compressed_streams_strung_together_are_one(tmp_path: Path, limits: ArchiveLimits) -> None:
    plain = make_tar(tmp_path / "a", CONTENT).read_bytes()
    for kind, compress in (("tar.gz", gzip.compress), ("tar.bz2", bz2.compress), ("tar.xz", lzma.compress)):
        packed = tmp_path / kind
        packed.write_bytes(compress(plain[:3000]) + compress(plain[3000:]))
        unpack_tar(packed, kind, tmp_path / "plain", limits)
        assert (tmp_path / "plain").read_bytes() == plain, kind


@pytest.mark.parametrize("data", [b"", b"PK", b"%PDF-1.7", b"\x00" * 2000, b"\x89PNG\r\n\x1a\n" + b"\x00" * 600])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(Invalid, match="neither a zip nor a tar"):
        detect_format(path)


def test_names_that_lead_elsewhere_are_not_read(tmp_path: Path, limits: ArchiveLimits) -> None:
    names = ["../up.jpg", "a/../../up.jpg", "/etc/passwd.jpg", "..\\up.jpg", "C:\\up.jpg", "c:/up.jpg"]
    for path in (
        make_zip(tmp_path / "zip", dict.fromkeys(names, b"x")),
        make_tar(tmp_path / "tar", dict.fromkeys(names, b"x")),
    ):
        assert problems(path, limits) == dict.fromkeys(names, "unsafe_name")


def test_links_and_devices_are_not_followed(tmp_path: Path, limits: ArchiveLimits) -> None:
    kinds = {
        "sym": (tarfile.SYMTYPE, "link"),
        "hard": (tarfile.LNKTYPE, "link"),
        "char": (tarfile.CHRTYPE, "device"),
        "block": (tarfile.BLKTYPE, "device"),
        "pipe": (tarfile.FIFOTYPE, "device"),
    }
    with tarfile.open(tmp_path / "tar", "w") as archive:
        for name, (kind, _) in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert problems(tmp_path / "tar", limits) == {name: problem for name, (_, problem) in kinds.items()}

    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        for name, mode in (("a/link.jpg", stat.S_IFLNK), ("a/device.jpg", stat.S_IFCHR), ("a/file.jpg", stat.S_IFREG)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, "/etc/passwd")
    assert problems(tmp_path / "zip", limits) == {"a/link.jpg": "link", "a/device.jpg": "device", "a/file.jpg": None}


def test_encrypted_and_unknown_compression_are_told(tmp_path: Path, limits: ArchiveLimits) -> None:
    path = make_zip(tmp_path / "a", {"a/1.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert problems(path, limits) == {"a/1.jpg": "encrypted"}
    assert problems(make_zip(tmp_path / "b", {"a/1.jpg": b"x"}, zipfile.ZIP_LZMA), limits) == {
        "a/1.jpg": "unknown_compression"
    }


def test_too_much_is_refused(tmp_path: Path, limits: ArchiveLimits) -> None:
    for path in (make_zip(tmp_path / "zip", CONTENT), make_tar(tmp_path / "tar", CONTENT)):
        kind = detect_format(path)
        with pytest.raises(LimitExceeded, match="more than 3 members"):
            list(walk(path, kind, replace(limits, entries=3)))
        with pytest.raises(LimitExceeded, match="more than 400 bytes"):
            list(walk(path, kind, replace(limits, total_bytes=400)))
        found = {member.name: member.problem for member in walk(path, kind, replace(limits, member_bytes=100))}
        assert found["a/1.jpg"] == "too_large"
        assert found["b/ü ñ.jpg"] is None


def test_bombs_are_refused_by_their_ratio(tmp_path: Path, limits: ArchiveLimits) -> None:
    many = make_zip(tmp_path / "many", {f"a/{n}.jpg": bytes(2**20) for n in range(20)})
    with pytest.raises(LimitExceeded, match="inflate to more than"):
        list(walk(many, "zip", limits))
    noise = random.Random(0).randbytes(2**20)
    one = make_zip(tmp_path / "one", {"a/bomb.jpg": bytes(2**23), "a/noise.jpg": noise})
    assert problems(one, limits) == {"a/bomb.jpg": "compression_ratio", "a/noise.jpg": None}
    packed = tmp_path / "packed"
    for kind, compress in (("tar.gz", gzip.compress), ("tar.bz2", bz2.compress), ("tar.xz", lzma.compress)):
        bomb = make_tar(tmp_path / "plain", {"a/1.jpg": bytes(2**25)})
        packed.write_bytes(compress(bomb.read_bytes()))
        with pytest.raises(LimitExceeded, match="inflates to more than"):
            unpack_tar(packed, kind, tmp_path / "target", limits)
        assert (tmp_path / "target").stat().st_size < 2**24


def test_a_member_never_gives_more_than_it_declares(tmp_path: Path, limits: ArchiveLimits) -> None:
    path = make_zip(tmp_path / "a", {"a/1.jpg": bytes(5000)})
    (member,) = walk(path, "zip", limits)
    with path.open("rb") as file:
        with pytest.raises(Invalid, match="holds 101 bytes where the archive declares 100"):
            read_member(file, replace(member, size=100))
        with pytest.raises(Invalid, match="checksum"):
            read_member(file, replace(member, crc32=1))
        with pytest.raises(Invalid, match="damaged"):
            read_member(file, replace(member, offset=0))


def test_a_local_header_that_disagrees_is_damage(tmp_path: Path, limits: ArchiveLimits) -> None:
    path = make_zip(tmp_path / "a", {"a/1.jpg": b"x"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a/1.jpg", b"a/2.jpg", 1))
    assert problems(path, limits) == {"a/1.jpg": "damaged"}


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path, limits: ArchiveLimits) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**32
    path = tmp_path / "a"
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + b"\x00" * 1024)
    with pytest.raises(Invalid, match=r"header of 4,294,967,296 bytes"):
        list(walk(path, "tar", limits))


def test_an_xz_header_that_claims_gigabytes_is_refused(tmp_path: Path, limits: ArchiveLimits) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**28, "preset": 0}]
    path = tmp_path / "a"
    path.write_bytes(lzma.compress(bytes(5000), filters=filters))
    with pytest.raises(Invalid, match=r"damaged: Memory usage limit"):
        unpack_tar(path, "tar.xz", tmp_path / "plain", limits)


def test_a_cut_archive_is_damaged_not_trusted(tmp_path: Path, limits: ArchiveLimits) -> None:
    whole = make_tar(tmp_path / "tar", {"a/1.jpg": b"x" * 5000, "a/2.jpg": b"y" * 5000})
    whole.write_bytes(whole.read_bytes()[: 512 * 16])
    assert set(problems(whole, limits).values()) == {None, "truncated"}
    packed = tmp_path / "gz"
    packed.write_bytes(gzip.compress(random.Random(0).randbytes(9000))[:5000])
    with pytest.raises(Invalid):
        unpack_tar(packed, "tar.gz", tmp_path / "plain", limits)


def mutations(data: bytes, count: int) -> list[bytes]:
    generator = random.Random(0)
    found = []
    for _ in range(count):
        broken = bytearray(data)
        for _ in range(generator.randint(1, 8)):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        found.append(bytes(broken[: generator.randint(1, len(broken))] if generator.random() < 0.2 else broken))
    return found


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_broken_bytes_end_in_a_reason_or_in_members_never_in_a_crash(
    tmp_path: Path, limits: ArchiveLimits, kind: str
) -> None:
    path = tmp_path / "a"
    (make_zip if kind == "zip" else make_tar)(path, CONTENT)
    for data in mutations(path.read_bytes(), 400):
        path.write_bytes(data)
        with suppress(JobsError), path.open("rb") as file:
            for member in walk(path, kind, limits):
                assert isinstance(member, Member)
                if member.problem is None:
                    read_member(file, member)


def test_offsets_beyond_sixty_four_bits_are_damage(tmp_path: Path, limits: ArchiveLimits) -> None:
    path = make_zip(tmp_path / "a", {"a/1.jpg": b"x"})
    data = path.read_bytes()
    place = data.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    entry = bytearray(data[place : place + 46 + 7])
    struct.pack_into("<L", entry, 42, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(extra))
    end = data[data.index(b"PK\x05\x06") :]
    forged = bytearray(data[:place] + bytes(entry) + extra + end)
    struct.pack_into("<L", forged, len(forged) - 10, len(entry) + len(extra))
    path.write_bytes(forged)
    assert problems(path, limits) == {"a/1.jpg": "damaged"}
