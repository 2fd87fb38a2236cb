"""The file with the campaigns, which stands apart so that a mistake in it costs no month."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import (
    BeforeValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from segment_pipeline.config.config import Config
from segment_pipeline.config.errors_by_line import error_report, locate, problem_at, problems_of, text_of
from segment_pipeline.config.stages import Action
from segment_pipeline.config.values import Month, Name, Settings, either, list_as_tuple, refusal, setting
from segment_pipeline.config.yaml_text import KeyPath, Problem, show
from segment_pipeline.errors import ConfigError
from segment_pipeline.months import as_of, month_key

SHARES_WITHIN = 1e-9
"""How far the shares of a campaign's arms may be off 1, for decimals such as 0.7 + 0.2 + 0.1."""


class ArmShares(Settings):
    """How the customers of a campaign are split among its arms."""

    matched: float = setting(..., "share, 0..1", "Customers who get the action of their own segment.", gt=0, lt=1)
    random: float = setting(
        ..., "share, 0..1", "Customers who get another action, that of a random segment.", ge=0, lt=1
    )
    control: float = setting(..., "share, 0..1", "Customers who are not contacted.", ge=0, lt=1)

    @model_validator(mode="after")
    def _add_up(self) -> "ArmShares":
        total = math.fsum((self.matched, self.random, self.control))
        if abs(total - 1) > SHARES_WITHIN:
            found = f"{show(self.matched)} + {show(self.random)} + {show(self.control)} = {total:.10g}"
            raise refusal((), found, "matched, random and control that add up to 1")
        return self


class Campaign(Settings):
    """One campaign: whose actions of which month it puts to the test, and until when outcomes count."""

    campaign: Name = setting(..., "", "Its name, each once; the arms are drawn by it, so it stays once it has begun.")
    month: Month = setting(
        ..., "month", "The closed month whose customers and actions it is about.", allowed="a month as YYYY-MM"
    )
    start: date = setting(..., "date", "First day on which an outcome counts.", allowed="a date as YYYY-MM-DD")
    measure_until: date = setting(
        ..., "date", "The day from which outcomes count no more.", allowed="a date as YYYY-MM-DD"
    )
    shares: ArmShares = setting(..., "", "How its customers are split; unchanged once it has begun.")
    actions: Annotated[tuple[Name, ...] | None, BeforeValidator(list_as_tuple)] = setting(
        None,
        "",
        "The actions that it covers; all when left out.",
        allowed="a list of action_ids of the action matrix",
        min_length=1,
    )
    value_cap: float | None = setting(
        None,
        "currency",
        "A customer's value above it counts as this; when left out, the 99th percentile of customers with an outcome.",
        gt=0,
    )

    @field_validator("start")
    @classmethod
    def _starts_after_its_month(cls, start: date, info: ValidationInfo) -> date:
        month = info.data.get("month")
        if month is not None and start < as_of(month):
            allowed = f"{as_of(month)} or later: the actions of {month_key(month)} are known when that month is over"
            raise refusal((), show(start), allowed)
        return start

    @field_validator("measure_until")
    @classmethod
    def _ends_after_its_start(cls, until: date, info: ValidationInfo) -> date:
        start = info.data.get("start")
        if start is not None and until <= start:
            raise refusal((), show(until), f"a date after start ({start})")
        return until

    def runs_in(self, month: date) -> bool:
        """Whether the actions of this closed month, which are carried out after it, are the campaign's."""
        return self.month <= month and as_of(month) < self.measure_until

    def is_over_in(self, month: date) -> bool:
        """Whether at the end of this closed month all that counts has happened."""
        return self.measure_until <= as_of(month)

    def covered(self, actions: Sequence[Action]) -> tuple[str, ...]:
        """The action_ids that it puts to the test; `actions` is the action matrix."""
        return self.actions if self.actions is not None else tuple(action.action_id for action in actions)


@dataclass(frozen=True)
class CampaignsRead:
    """The campaigns of the file that can be used, and what is wrong with the others or with all of it, by line."""

    campaigns: tuple[Campaign, ...] = ()
    fault: str = ""


def load_campaigns(config: Config) -> tuple[Campaign, ...]:
    """Read and check the campaigns that the configuration names; () without any. Raises ConfigError as load_config."""
    found = read_campaigns(config)
    if found.fault:
        raise ConfigError(found.fault)
    return found.campaigns


def read_campaigns(config: Config) -> CampaignsRead:
    """As `load_campaigns`, but a mistake costs only the campaign in which it is; it is told in `fault`."""
    if config.campaigns is None:
        return CampaignsRead()
    path = config.path.parent / config.campaigns.file
    try:
        text = text_of(path, "the path of a list of campaigns. Fix campaigns.file in the configuration.")
        located = locate(text, path)
    except ConfigError as error:
        return CampaignsRead(fault=str(error))
    if located.value is None:
        return CampaignsRead()
    if not isinstance(located.value, list):
        keys = ", ".join(name for name, field in Campaign.model_fields.items() if field.is_required())
        problem = Problem(1, "", show(located.value), f"a list of campaigns, each with {keys}")
        return CampaignsRead(fault=error_report(path, [problem]))
    problems: list[Problem] = []
    faulty: set[str | int] = set()
    try:
        TypeAdapter(tuple[Campaign, ...]).validate_python(tuple(located.value))
    except ValidationError as error:
        problems += problems_of(error, located, Campaign)
        faulty |= {detail["loc"][0] for detail in error.errors()}
    sound = {i: Campaign.model_validate(item) for i, item in enumerate(located.value) if i not in faulty}
    for where, found, allowed in _campaign_problems(sound, config):
        problems.append(problem_at(located, where, found, allowed))
        faulty.add(where[0])
    kept = tuple(campaign for i, campaign in sound.items() if i not in faulty)
    return CampaignsRead(kept, error_report(path, sorted(problems, key=lambda problem: problem.line)))


def _campaign_problems(campaigns: Mapping[int, Campaign], config: Config) -> Iterator[tuple[KeyPath, str, str]]:
    """What is wrong with campaigns, by their places in the file, beside one another and the rest of the configuration.

    Of two that cannot both run, the one that begins later is wrong: the other may have begun.
    """
    known = [action.action_id for action in config.actions]
    before: dict[int, Campaign] = {}
    for index, campaign in sorted(campaigns.items(), key=lambda item: (item[1].month, item[0])):
        found = list(_problems_of_campaign(index, campaign, before, known, config))
        yield from found
        if not found:
            before[index] = campaign


def _problems_of_campaign(
    index: int, campaign: Campaign, before: Mapping[int, Campaign], known: Sequence[str], config: Config
) -> Iterator[tuple[KeyPath, str, str]]:
    first, last = config.first_month, config.last_month
    if campaign.month < first or (last is not None and campaign.month > last):
        span = f"{month_key(first)} to {month_key(last)}" if last is not None else f"{month_key(first)} or later"
        yield (index, "month"), month_key(campaign.month), f"a month of the segmentation: {span}"
    if not known:
        yield (index,), "a campaign without a single action", "campaigns beside `actions` in the configuration"
    for place, action_id in enumerate(campaign.actions or ()):
        if action_id not in known:
            yield (
                (index, "actions", place),
                show(action_id),
                f"an action_id of the configuration: {either(known)}",
            )
    for other, earlier in before.items():
        if campaign.campaign.casefold() == earlier.campaign.casefold():
            yield (index, "campaign"), f"{show(campaign.campaign)} again (also [{other}])", "each name once"
        both = sorted(set(campaign.covered(config.actions)) & set(earlier.covered(config.actions)))
        if both and earlier.runs_in(campaign.month):
            found = f"{show(both[0])} in {month_key(campaign.month)}, as in [{other}] ({earlier.campaign})"
            key = "month" if campaign.actions is None else "actions"
            yield (index, key), found, "one campaign at a time for an action: other months or other actions"
