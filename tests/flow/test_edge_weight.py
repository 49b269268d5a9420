"""The running edge carries nothing built with Rust: the promise is about what is mapped, not about what is imported."""

from importlib.util import find_spec
from pathlib import Path

from tests.flow.stack import Stack, Tenant, make_catalogue

MARK = b"/rustc/"
"""Left by the compiler in everything that it builds: the path of its own sources."""


def is_built_with_rust(library: Path) -> bool:
    """Whether a shared library came out of the Rust compiler."""
    return MARK in library.read_bytes()


def mapped_libraries(pid: int) -> set[Path]:
    """Shared libraries in the memory of a process and of its children."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    found = {Path(line.split(maxsplit=5)[5]) for line in lines if ".so" in line}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= mapped_libraries(int(child))
    return found


def test_the_mark_is_found_where_it_must_be() -> None:
    """A library that is known to be built with Rust is told from one that is not."""
    granian, hiredis = (find_spec(name) for name in ("granian._granian", "hiredis.hiredis"))
    assert granian is not None
    assert hiredis is not None
    assert is_built_with_rust(Path(str(granian.origin)))
    assert not is_built_with_rust(Path(str(hiredis.origin)))


async def test_a_running_edge_has_nothing_of_rust_in_memory(stack: Stack, tenant: Tenant) -> None:
    """After it has loaded a key, an account and a plan, checked and recorded: parent and workers."""
    variant = await make_catalogue(tenant.core)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": "light", "plan_variant_id": variant})
    for _ in range(20):
        await tenant.edge.get("/v1/entitlements/check", end_user_id="light", feature_key="api_calls")
        await tenant.edge.post("/v1/usage", {"end_user_id": "light", "feature_key": "api_calls", "units": 1})
    pid = stack.roles["edge"].pid
    assert pid is not None
    libraries = mapped_libraries(pid)
    assert any("uvloop" in library.name or "loop" in library.name for library in libraries)
    assert [str(library) for library in sorted(libraries) if is_built_with_rust(library)] == []
