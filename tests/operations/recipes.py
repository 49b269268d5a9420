"""What docs/operations.md tells an operator to type, typed at a stack of processes in place of containers."""

import asyncio
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from tests.flow.stack import Stack

PAGE = Path(__file__).resolve().parents[2] / "docs/operations.md"
BLOCK = re.compile(r"```sh[^\n]*\n(.*?)```", re.DOTALL)
ROLES = ("core", "edge", "flusher", "jobs")
BASH = shutil.which("bash") or "bash"


def recipe(heading: str, number: int = 0) -> list[str]:
    """The commands of a block below a heading."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return BLOCK.findall(section)[number].strip().splitlines()


class Operator:
    """Follows recipes. Files that commands write and read are in `directory`."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, directory: Path) -> None:
        self._stack, self._session, self._directory = stack, session, directory

    async def follow(self, commands: list[str]) -> list[str]:
        """Type them one after the other; what each said. AssertionError where one fails."""
        return [await self._type(command) for command in commands]

    async def _type(self, command: str) -> str:
        match words := shlex.split(command.partition(" > ")[0].partition(" < ")[0])[2:]:
            case ["stop", *names]:
                await self._stop([name for name in names if name in ROLES])
            case ["up", "--detach", "--wait", "postgres", "valkey"]:
                self._stack.postgres.start()
                self._stack.valkey.start()
            case ["up", "--detach", "--no-deps", "--wait", name]:
                await self._stop([name])
                await self._start([name])
                await self._stack.ready(self._session)
            case ["up", "--detach", *names]:
                await self._start([name for name in names if name in ROLES])
            case ["build"]:
                pass  # there is one version of it here
            case _:
                return await self._type_inside(command, words)
        return ""

    async def _type_inside(self, command: str, words: list[str]) -> str:
        """What runs inside a container."""
        postgres = self._stack.postgres
        match words:
            case ["exec", "-T", "valkey", "valkey-cli", *asked]:
                redis = await self._stack.redis()
                await redis.client.execute_command(*asked)
                await redis.close()
                return ""
            case ["exec", "-T", "postgres", *_]:
                variables = {"PATH": str(postgres.binary.file.parent), "PGHOST": str(postgres.socket_directory)}
                return await self._run(command.partition("exec -T postgres ")[2], variables)
            case ["run", "--rm", "-T", "--entrypoint", "sh", "postgres", "-c", typed]:
                whole = f"{BASH} -c {shlex.quote(typed)} <{command.partition(' < ')[2]}"
                return await self._run(whole, {"PGDATA": str(postgres.directory)})
            case ["run", "--rm", "--env", _, "migrate", "quotastack", *arguments]:
                return await self._quotastack(arguments, {"REDIS_URL": self._stack.stores.redis_url})
            case ["run", "--rm", "migrate", *arguments]:
                return await self._quotastack(arguments[1:] or ["migrate"], {})
            case _:
                raise AssertionError(f"nobody knows how to type {command!r} here")

    async def _stop(self, names: list[str]) -> None:
        """In good order, also where a store is gone."""
        for name in names:
            await self._stack.stop(name)

    async def _start(self, names: list[str]) -> None:
        for name in names or ROLES:
            if self._stack.roles[name].pid is None or self._stack.roles[name].has_ended():
                self._stack.start(name)
        if not names:
            await self._stack.ready(self._session)

    async def _quotastack(self, arguments: list[str], more: Mapping[str, str]) -> str:
        environment = {
            name: value for name, value in self._stack.environments["migrate"].items() if name != "REDIS_URL"
        }
        return await self._run(f"{sys.executable} -m app.cli {shlex.join(arguments)}", {**environment, **more})

    async def _run(self, typed: str, environment: Mapping[str, str]) -> str:
        whole = {"PATH": os.environ["PATH"], **environment, "PYTHONPATH": str(PAGE.parents[1]), "COLUMNS": "300"}
        process = await asyncio.create_subprocess_exec(
            *(BASH, "-c", typed),
            cwd=self._directory,
            env=whole,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, f"{typed}: {process.returncode}\n{said.decode()}"
        return said.decode()
