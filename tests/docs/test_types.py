"""The TypeScript of the pages holds its types, as an editor would check it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of, runnable_pages
from tests.docs.reader import install, module_of
from tests.programs import program
from tests.typescript import built_sdk

SETTINGS = {
    "strict": True,
    "noEmit": True,
    "skipLibCheck": True,
    "target": "es2022",
    "lib": ["es2023", "dom", "dom.iterable"],
    "module": "nodenext",
    "types": ["node"],
}


@pytest.mark.timeout(300)
def test_every_page_holds_its_types(tmp_path: Path) -> None:
    """Strictly; each page is a module of its own."""
    tools = built_sdk() / "node_modules"
    install(tmp_path / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": SETTINGS, "include": ["*.ts"]}))
    for page in runnable_pages():
        blocks = [block for block in blocks_of(page) if block.is_run and block.language == "ts"]
        if blocks:
            (tmp_path / f"{page.replace('/', '_')}.ts").write_text(module_of(blocks, "") + "export {}\n")
    done = subprocess.run(
        [program("node"), tools / "typescript/bin/tsc", "-p", tmp_path], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout
