"""Tokens as a provider counts them, made into pools in which no token is twice, and pools into usage.

What is part of what differs: cached tokens are in OpenAI's and Gemini's input and beside Anthropic's, reasoning is in
OpenAI's output and beside Gemini's. The sum of the pools is all tokens that the provider counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from quotastack.events import UsageEvent

_FALLS_TO = {"cached_input": "input", "cache_write": "input", "reasoning": "output"}


class TokenPools(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, each in one pool. `cached_input` was read from a cache, `cache_write` written to one."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input + self.cached_input + self.cache_write + self.output + self.reasoning


def token_usage(usage: object) -> TokenPools:
    """The pools of a provider's usage: the object of its library, or the dict that it is as JSON.

    It is recognised which it is: OpenAI (chat completions, responses), Anthropic (messages), Gemini (generateContent).
    Raises ValueError for anything else, and for counts that are none.
    """
    counted = _Counted(usage)
    if counted.has("promptTokenCount", "candidatesTokenCount", "totalTokenCount"):
        return _gemini(counted)
    if counted.has("prompt_tokens", "completion_tokens"):
        return _openai(counted, "prompt_tokens", "completion_tokens")
    if counted.has("input_tokens_details", "output_tokens_details"):
        return _openai(counted, "input_tokens", "output_tokens")
    if counted.has("input_tokens", "output_tokens"):
        return TokenPools(
            input=counted.get("input_tokens"),
            cached_input=counted.get("cache_read_input_tokens"),
            cache_write=counted.get("cache_creation_input_tokens"),
            output=counted.get("output_tokens"),
        )
    raise ValueError("This is no usage of OpenAI, Anthropic or Gemini.")


def usage_events(
    end_user_id: str, pools: TokenPools, *, features: Mapping[str, str], idempotency_key: str
) -> list[UsageEvent]:
    """One event for each feature whose pools are not empty, all under the same key: a key is unique per feature.

    `features` names the feature of each pool (`{"input": "input_tokens", "output": "output_tokens"}`). A pool without
    one counts as what it is part of elsewhere: cached and written input as input, reasoning as output.
    """
    if unknown := features.keys() - set(pools.__struct_fields__):
        raise ValueError(f"{', '.join(sorted(unknown))}: no pool of tokens.")
    units: dict[str, int] = {}
    for pool in pools.__struct_fields__:
        feature_key = features.get(pool) or features.get(_FALLS_TO.get(pool, pool))
        if feature_key is not None and (tokens := getattr(pools, pool)):
            units[feature_key] = units.get(feature_key, 0) + tokens
    return [
        {
            "end_user_id": end_user_id,
            "feature_key": feature_key,
            "units": tokens,
            "idempotency_key": idempotency_key,
        }
        for feature_key, tokens in units.items()
    ]


def _openai(counted: "_Counted", whole_in: str, whole_out: str) -> TokenPools:
    sent, answered = counted.get(whole_in), counted.get(whole_out)
    cached = min(sent, counted.within(f"{whole_in}_details").get("cached_tokens"))
    reasoning = min(answered, counted.within(f"{whole_out}_details").get("reasoning_tokens"))
    return TokenPools(input=sent - cached, cached_input=cached, output=answered - reasoning, reasoning=reasoning)


def _gemini(counted: "_Counted") -> TokenPools:
    sent = counted.get("promptTokenCount")
    cached = min(sent, counted.get("cachedContentTokenCount"))
    return TokenPools(
        input=sent - cached + counted.get("toolUsePromptTokenCount"),
        cached_input=cached,
        output=counted.get("candidatesTokenCount"),
        reasoning=counted.get("thoughtsTokenCount"),
    )


class _Counted:
    """Members of a dict or an object; Gemini's library spells them in snake_case."""

    def __init__(self, usage: object) -> None:
        self._usage: object = usage
        self._members = cast("Mapping[str, Any]", usage) if isinstance(usage, Mapping) else None

    def _find(self, name: str) -> object:
        for spelling in (name, "".join(_snake(name))):
            found = getattr(self._usage, spelling, None) if self._members is None else self._members.get(spelling)
            if found is not None:
                return found
        return None

    def has(self, *names: str) -> bool:
        """Whether any of them is there."""
        return any(self._find(name) is not None for name in names)

    def get(self, name: str) -> int:
        """The count; 0 where there is none. Raises ValueError where it is no count."""
        found = self._find(name)
        if found is None:
            return 0
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise ValueError(f"{name} is {found!r}, and counts of tokens are whole numbers from 0 on.")
        return found

    def within(self, name: str) -> "_Counted":
        """The members of a member."""
        return _Counted(self._find(name))


def _snake(name: str) -> Iterator[str]:
    for letter in name:
        yield f"_{letter.lower()}" if letter.isupper() else letter
