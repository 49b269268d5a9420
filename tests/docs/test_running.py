"""Every block of code of every page does what its page says, as a reader would run it."""

from pathlib import Path

import pytest

from app.embedded.dev_file import write_dev_stack
from tests.docs.blocks import blocks_of, runnable_pages
from tests.docs.conftest import newcomer, variables_of
from tests.docs.outputs import complaints
from tests.docs.reader import reading
from tests.flow.stack import Stack


@pytest.mark.timeout(300)  # whoever comes first builds the SDK
@pytest.mark.parametrize("page", runnable_pages())
def test_page(page: str, stack: Stack, tmp_path: Path) -> None:
    """Its blocks, one after the other, run to a good end and print what is shown."""
    told = newcomer(stack)
    (tmp_path / "var").mkdir()
    write_dev_stack(tmp_path / "var", told)
    blocks = [block for block in blocks_of(page) if block.is_run]
    with reading(blocks, tmp_path, variables_of(stack, told, tmp_path)) as reader:
        outputs = reader.outputs()
    found = [found for block, output in zip(blocks, outputs, strict=True) for found in complaints(block, output)]
    assert not found, "\n".join(found)
