"""Bodies of the environment's route."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.environments.store import Settings
from app.errors import invalid_value
from app.rules.thresholds import Threshold
from app.web.amounts import CreditsAboveZero
from app.wire.ids import MalformedId, parse, show

MAX_THRESHOLDS = 10


class ThresholdBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a customer's credit is low: so many `credits`, or so many `percent` of what was granted. One of the two.

    The percentage is of all credit that was granted in the blocks of which something is left.
    """

    credits: CreditsAboveZero | UnsetType = UNSET
    percent: Annotated[int, Meta(ge=1, le=99)] | UnsetType = UNSET


class EnvironmentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be set from now on; what is left out stays. `thresholds` take the place of all that were set."""

    free_plan_variant_id: str | UnsetType | None = UNSET
    auto_enroll: bool | UnsetType = UNSET
    thresholds: Annotated[list[ThresholdBody], Meta(max_length=MAX_THRESHOLDS)] | UnsetType = UNSET


class EnvironmentBody(msgspec.Struct, frozen=True):
    """An environment, and what is set for it."""

    environment_id: str
    kind: str
    free_plan_variant_id: str | None
    auto_enroll: bool
    thresholds: list[ThresholdBody]


def parse_free_variant(text: str) -> UUID:
    """The id of the variant; raises ServiceError(INVALID_VALUE)."""
    try:
        return parse("var", text)
    except MalformedId as error:
        raise invalid_value("free_plan_variant_id", str(error)) from error


def parse_thresholds(bodies: list[ThresholdBody]) -> tuple[Threshold, ...]:
    """The thresholds; raises ServiceError(INVALID_VALUE)."""
    thresholds = [_parse_threshold(f"thresholds[{index}]", body) for index, body in enumerate(bodies)]
    for index, threshold in enumerate(thresholds):
        if threshold in thresholds[:index]:
            raise invalid_value(f"thresholds[{index}]", "is there already")
    return tuple(thresholds)


def _parse_threshold(field: str, body: ThresholdBody) -> Threshold:
    match body:
        case ThresholdBody(credits=CreditsAboveZero(micro=micro), percent=msgspec.UnsetType()):
            return Threshold(amount_micro=micro)
        case ThresholdBody(credits=msgspec.UnsetType(), percent=int(percent)):
            return Threshold(percent=percent)
        case _:
            raise invalid_value(field, "must have one of credits and percent")


def show_threshold(threshold: Threshold) -> ThresholdBody:
    """The threshold as the API shows it."""
    if threshold.amount_micro is not None:
        return ThresholdBody(credits=CreditsAboveZero(threshold.amount_micro))
    return ThresholdBody(percent=UNSET if threshold.percent is None else threshold.percent)


def show_environment(environment_id: UUID, kind: str, settings: Settings) -> EnvironmentBody:
    """The environment as the API shows it."""
    free_variant_id = settings.free_variant_id
    return EnvironmentBody(
        environment_id=show("env", environment_id),
        kind=kind,
        free_plan_variant_id=None if free_variant_id is None else show("var", free_variant_id),
        auto_enroll=settings.auto_enroll,
        thresholds=[show_threshold(threshold) for threshold in settings.thresholds],
    )
