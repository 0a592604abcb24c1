"""A registry in a folder, with packages of a few bytes: what a lock was made of, and what somebody
has published since. Nothing in it is asked over a network.
"""

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

BREAKS = "raise SystemExit('the newest setuptools is at work here')\n"


class TinyRegistry:
    """A simple index, as pip reads it from `file://`, and the hashes of what lies in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hashes: dict[tuple[str, str], str] = {}

    @property
    def url(self) -> str:
        """Its address."""
        return self._folder.as_uri()

    def publish(
        self,
        name: str,
        version: str,
        requires: tuple[str, ...] = (),
        extras: tuple[str, ...] = (),
        files: dict[str, str] | None = None,
    ) -> None:
        """Publish a wheel."""
        about = [("Metadata-Version", "2.1"), ("Name", name), ("Version", version)]
        about += [("Provides-Extra", extra) for extra in extras]
        about += [("Requires-Dist", each) for each in requires]
        info = f"{name}-{version}.dist-info"
        content = {
            **(files or {f"{name}.py": f"version = {version!r}\n"}),
            f"{info}/METADATA": "".join(f"{key}: {value}\n" for key, value in about),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{path},sha256={_digest(text)},\n" for path, text in content.items())
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as wheel:
            for path, text in (*content.items(), (f"{info}/RECORD", record)):
                wheel.writestr(zipfile.ZipInfo(path), text)
        self._put(name, version, f"{name}-{version}-py3-none-any.whl", packed.getvalue())

    def publish_source(self, name: str, version: str) -> None:
        """Publish a source archive, which setuptools makes a wheel of where it is installed."""
        content = {
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "pyproject.toml": (
                '[build-system]\nrequires = ["setuptools"]\n'
                'build-backend = "setuptools.build_meta"\n'
                f'[project]\nname = "{name}"\nversion = "{version}"\n'
            ),
            f"{name}.py": f"version = {version!r}\n",
        }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in content.items():
                member = tarfile.TarInfo(f"{name}-{version}/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self._put(name, version, f"{name}-{version}.tar.gz", packed.getvalue())

    def lock(self, pins: dict[str, str]) -> str:
        """Return a lock in the style of ours: pinned, hashed, extras stripped, no place named."""
        lines = (
            f"{name}=={version} \\\n    --hash=sha256:{self._hashes[name, version]}\n"
            for name, version in sorted(pins.items())
        )
        return "".join(lines)

    def _put(self, name: str, version: str, file: str, content: bytes) -> None:
        project = self._folder / name
        project.mkdir(parents=True, exist_ok=True)
        (project / file).write_bytes(content)
        self._hashes[name, version] = hashlib.sha256(content).hexdigest()
        links = (f'<a href="{each.name}">{each.name}</a>' for each in sorted(project.iterdir()))
        index = "".join(link for link in links if "index.html" not in link)
        (project / "index.html").write_text(f"<!DOCTYPE html><html><body>{index}</body></html>")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
