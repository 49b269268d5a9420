"""What a check answers when the service is away: yes, no, or what it said last."""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from quotastack.answers import EntitlementCheck
from quotastack.events import Number, to_json

MAX_REMEMBERED = 10_000
UNAVAILABLE = "unavailable"
"""The reason of a no that nobody said."""


class Cached(NamedTuple):
    """The last answer to the same question, if it is not older; else as `otherwise` says."""

    max_age: float
    otherwise: Literal["open", "closed"] = "closed"


FailMode: TypeAlias = Literal["open", "closed"] | Cached
"""`open` lets everybody through, `closed` nobody."""


def cached(max_age: float, otherwise: Literal["open", "closed"] = "closed") -> Cached:
    """Answer from live answers of at most `max_age` seconds ago; what was not asked then, as `otherwise` says."""
    return Cached(max_age, otherwise)


class Question(NamedTuple):
    """What was asked; the same again has the same answer."""

    end_user_id: str
    feature_key: str
    units: Number
    properties: bytes = b""


def question(end_user_id: str, feature_key: str, units: Number, properties: Mapping[str, Any] | None) -> Question:
    """The question, with properties in one order."""
    if properties is None:
        return Question(end_user_id, feature_key, units)
    return Question(
        end_user_id, feature_key, units, msgspec.json.encode(msgspec.to_builtins(properties), order="sorted")
    )


class _Kept(NamedTuple):
    answer: EntitlementCheck
    at: float


class Fallback:
    """The modes, and the last answers where a mode asks for them."""

    def __init__(self, mode: FailMode, modes: Mapping[str, FailMode]) -> None:
        self._mode: FailMode = mode
        self._modes: dict[str, FailMode] = dict(modes)
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()
        self._lock = Lock()

    def remember(self, asked: Question, answer: EntitlementCheck, now: float) -> None:
        """A live answer, `now` by a clock that only goes forward. The one that was longest not needed makes room."""
        if not isinstance(self._mode_of(asked), Cached):
            return
        with self._lock:
            self._kept[asked] = _Kept(answer, now)
            self._kept.move_to_end(asked)
            if len(self._kept) > MAX_REMEMBERED:
                self._kept.popitem(last=False)

    def answer(self, asked: Question, now: float) -> EntitlementCheck:
        """The answer that takes the place of the service's."""
        mode = self._mode_of(asked)
        if isinstance(mode, Cached):
            if (kept := self._find(asked)) is not None and now - kept.at <= mode.max_age:
                return msgspec.structs.replace(kept.answer, source="cache")
            mode = mode.otherwise
        is_open = mode == "open"
        return EntitlementCheck(
            allowed=is_open,
            feature_key=asked.feature_key,
            units=msgspec.json.decode(to_json(asked.units)),
            reason=None if is_open else UNAVAILABLE,
            source="fallback",
        )

    def _find(self, asked: Question) -> _Kept | None:
        with self._lock:
            if asked in self._kept:
                self._kept.move_to_end(asked)
            return self._kept.get(asked)

    def _mode_of(self, asked: Question) -> FailMode:
        return self._modes.get(asked.feature_key) or self._mode
