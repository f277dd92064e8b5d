"""Check what is in the wheel and the source distribution of a folder: ``check_distributions.py dist``."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath


def tracked() -> set[str]:
    """Files that are, or could be, under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return {name for name in subprocess.check_output(command, text=True).splitlines() if Path(name).exists()}


def only(folder: Path, pattern: str) -> Path:
    """The one file that matches."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"expected one {pattern} in {folder}, got {[path.name for path in found]}")
    return found[0]


def main() -> None:
    """Compare both with the files under version control."""
    folder = Path(sys.argv[1])
    files = tracked()
    package = {name for name in files if name.startswith("mocap_opt/")}
    wheel = {name for name in zipfile.ZipFile(only(folder, "*.whl")).namelist() if not name.endswith("/")}
    metadata = {name for name in wheel if PurePosixPath(name).parts[0].endswith(".dist-info")}
    with tarfile.open(only(folder, "*.tar.gz")) as archive:
        members = [member.name for member in archive.getmembers() if member.isfile()]
    source = {name.partition("/")[2] for name in members}
    made = {name for name in source if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    hidden = {name for name in files if name.startswith(".ci/") or name == ".gitignore"}
    problems = {
        "the wheel lacks": package - wheel,
        "the wheel has besides": wheel - package - metadata,
        "the wheel has no licence": set() if any("LICENSE" in name for name in metadata) else {"LICENSE"},
        "the source distribution lacks": files - hidden - source,
        "the source distribution has besides": source - files - made,
    }
    wrong = [f"{what}: {', '.join(sorted(names))}" for what, names in problems.items() if names]
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"wheel: {len(wheel)} files, source distribution: {len(source)} files")


if __name__ == "__main__":
    main()
