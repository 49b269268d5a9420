# Made from _async by scripts/make_sync.py: change it there.
"""Whether a customer may use something: verbs that always answer, the way that the fail mode says."""

from collections.abc import Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, NotRequired, TypedDict

import msgspec

from quotastack import calls
from quotastack._sync.parts import Parts
from quotastack._sync.waiting import together
from quotastack.answers import EntitlementCheck
from quotastack.errors import QuotaStackError, UnavailableError, UnreachableError
from quotastack.events import Number, to_json
from quotastack.fallback import Question, question
from quotastack.models import CheckBatchAnswer, CheckResult, Entitlements
from quotastack.verdicts import PASSING

MAX_CHECKS = 100
"""That one request may carry."""


class Check(TypedDict):
    """What is asked, about 1 unit unless said otherwise; about 0: any access at all."""

    end_user_id: str
    feature_key: str
    units: NotRequired[Number]
    properties: NotRequired[Mapping[str, Any] | None]


class Checks(Parts):
    """The verbs."""

    def check_entitlement(
        self,
        end_user_id: str,
        feature_key: str,
        *,
        units: Number = 1,
        properties: Mapping[str, Any] | None = None,
    ) -> EntitlementCheck:
        """Whether the customer may use `units` of the feature now.

        Where the service is away it answers as the fail mode says, and `source` tells. Raises QuotaStackError where the
        service refuses the question itself.
        """
        asked = question(end_user_id, feature_key, units, properties)
        call = calls.get(
            "/v1/entitlements/check",
            is_hot=True,
            is_check=True,
            end_user_id=end_user_id,
            feature_key=feature_key,
            units=calls.show(units),
            properties=asked.properties.decode() or None,
        )
        try:
            answer = self._ask(call, EntitlementCheck)
        except QuotaStackError as error:
            if not _is_away(error):
                raise
            return self._fallback.answer(asked, monotonic())
        self._fallback.remember(asked, answer, monotonic())
        return answer

    def check_entitlements(self, checks: Sequence[Check]) -> list[EntitlementCheck]:
        """Many checks at once, of any customers; one answer each, in their order."""
        parts = [checks[start : start + MAX_CHECKS] for start in range(0, len(checks), MAX_CHECKS)]
        answers = together(*[partial(self._check_part, part) for part in parts]) if parts else []
        return [answer for part in answers for answer in part]

    def _check_part(self, checks: Sequence[Check]) -> list[EntitlementCheck]:
        asked = [
            question(one["end_user_id"], one["feature_key"], one.get("units", 1), one.get("properties"))
            for one in checks
        ]
        call = calls.Call("POST", "/v1/entitlements/check", to_json({"checks": checks}), is_hot=True, is_check=True)
        try:
            answered = self._ask(call, CheckBatchAnswer)
        except QuotaStackError as error:
            if not _is_away(error):
                raise
            return [self._fallback.answer(one, monotonic()) for one in asked]
        if len(answered.results) != len(asked):  # it is no answer
            return [self._fallback.answer(one, monotonic()) for one in asked]
        return [self._read_result(one, result) for one, result in zip(asked, answered.results, strict=True)]

    def _read_result(self, asked: Question, result: CheckResult) -> EntitlementCheck:
        if result.allowed is None:
            if result.code in PASSING:
                return self._fallback.answer(asked, monotonic())
            return EntitlementCheck(
                allowed=False,
                feature_key=asked.feature_key,
                units=msgspec.json.decode(to_json(asked.units)),
                code=result.code,
                detail=result.detail,
            )
        answer = msgspec.convert(msgspec.structs.asdict(result), EntitlementCheck)
        self._fallback.remember(asked, answer, monotonic())
        return answer

    def list_entitlements(self, end_user_id: str) -> Entitlements:
        """Every feature of the customer. It has no fail mode: raises QuotaStackError where the service is away."""
        call = calls.get("/v1/entitlements", is_hot=True, is_check=True, end_user_id=end_user_id)
        return self._ask(call, Entitlements)


def _is_away(error: QuotaStackError) -> bool:
    """Whether nobody answered who could. A refusal (4xx) is an answer."""
    return isinstance(error, UnreachableError | UnavailableError)
