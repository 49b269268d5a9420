"""SQL files: one statement each, named verb_object, with a sentence that says what it is for."""

from importlib.resources import files


def statements(package: str) -> dict[str, str]:
    """The statements in the `sql` folder of a package, by file name without its ending."""
    folder = files(package) / "sql"
    return {file.name.removesuffix(".sql"): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}
