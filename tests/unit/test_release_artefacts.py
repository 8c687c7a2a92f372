"""What a release has beside the wheel, from a report of pip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mailctl

SCRIPT = Path(mailctl.__file__).parents[1] / ".ci" / "artefacts.py"
REPORT = {
    "install": [
        {
            "metadata": {"name": "mailctl", "version": "0.1.0", "license_expression": "MIT"},
            "download_info": {"url": "file:///src", "dir_info": {}},
        },
        {
            "metadata": {
                "name": "Jinja2",
                "version": "3.1.6",
                "classifier": ["License :: OSI Approved :: BSD License", "Topic :: Internet"],
            },
            "download_info": {"url": "https://x", "archive_info": {"hashes": {"sha256": "ab" * 32}}},
        },
        {
            "metadata": {"name": "celery", "version": "5.7.0", "license": "BSD-3-Clause\nand its text"},
            "download_info": {"url": "https://x", "archive_info": {"hashes": {"sha256": "cd" * 32}}},
        },
        {
            "metadata": {"name": "silent", "version": "1"},
            "download_info": {"url": "https://x", "archive_info": {"hashes": {"sha256": "ef" * 32}}},
        },
    ]
}


def test_versions_hashes_and_licences_are_written(tmp_path: Path) -> None:
    """A licence that nobody states is unknown; mailctl itself has no archive yet, and so no hash."""
    subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        input=json.dumps(REPORT),
        text=True,
        check=True,
        timeout=60,
    )
    pinned = (tmp_path / "constraints.txt").read_text()
    assert pinned.startswith(f"celery==5.7.0 \\\n    --hash=sha256:{'cd' * 32}\nJinja2==3.1.6 ")
    assert "mailctl" not in pinned
    bill = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], len(bill["components"])) == ("CycloneDX", 4)
    [jinja] = [each for each in bill["components"] if each["name"] == "Jinja2"]
    assert jinja["purl"] == "pkg:pypi/jinja2@3.1.6"
    assert jinja["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    table = (tmp_path / "licences.md").read_text()
    assert "| Jinja2 | 3.1.6 | BSD License |" in table
    assert "| celery | 5.7.0 | BSD-3-Clause |" in table
    assert "| silent | 1 | unknown |" in table
