"""Stands for your model: it streams tokens at a steady pace, the same ones for the same prompt, from no network."""

import asyncio
import re
from collections.abc import AsyncGenerator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

_ANSWERS: Final = Path(__file__).with_name("answers.txt")
_TOKEN: Final = re.compile(r"\S+\s*")


class Known(NamedTuple):
    """An answer, and the beginnings of words to which it is one; none: to whatever has no other."""

    words: tuple[str, ...]
    tokens: list[str]


def answer(prompt: str) -> list[str]:
    """The tokens of the answer: the first whose words are in the prompt, else the one that its checksum picks."""
    asked = re.findall(r"\w+", prompt.lower())
    for known in _known():
        if any(word.startswith(known.words) for word in asked):
            return known.tokens
    others = [known for known in _known() if not known.words]
    return others[crc32(prompt.encode()) % len(others)].tokens


async def stream(prompt: str, most_tokens: int, tokens_per_second: float) -> AsyncGenerator[str, None]:
    """The answer token by token, cut off after `most_tokens`."""
    for token in islice(answer(prompt), most_tokens):
        await asyncio.sleep(1 / tokens_per_second)
        yield token


@cache
def _known() -> list[Known]:
    """All answers: each a line with `#` and its words, and a text under it, in which `/` ends a line."""
    found: list[Known] = []
    for block in _ANSWERS.read_text().split("\n#"):
        words, _, text = block.removeprefix("#").partition("\n")
        spoken = " ".join(text.split()).replace(" / ", "\n")
        found.append(Known(tuple(words.split()), _TOKEN.findall(spoken)))
    return found
