"""`segmentation.yaml` as one typed, validated object: its sections, the rules across them, and reading it.

What each key is, its unit, its default and its meaning, stands with its section (source.py, model.py, stages.py ...).
What the values do is for the module that reads them. Everything imports this room, so it imports neither numpy nor
pandas nor duckdb.
"""

import hashlib
import json
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from segment_pipeline.config.errors_by_line import SettingDoc, docs_of, error_report, locate, problems_of, text_of
from segment_pipeline.config.model import (
    AlignmentSettings,
    DriftSettings,
    MemorySettings,
    ModelSettings,
    QualitySettings,
    RefitSettings,
    RoleSettings,
    SegmentOverride,
    TierSettings,
)
from segment_pipeline.config.order_features import MONETARY, ORDER_FEATURES
from segment_pipeline.config.source import Feature, Source, not_from_source
from segment_pipeline.config.stages import (
    Action,
    AlternativeSettings,
    AuditSource,
    CampaignsFile,
    EngineSettings,
    OperationSettings,
    OutcomesSource,
    PublishSettings,
    ValidationSettings,
)
from segment_pipeline.config.values import (
    Month,
    Name,
    Settings,
    absolute_path,
    either,
    empty_means_defaults,
    list_as_tuple,
    refusal,
    refusals,
    setting,
)
from segment_pipeline.config.warning_rules import WarningSettings
from segment_pipeline.config.yaml_text import KeyPath, Problem, show
from segment_pipeline.errors import ConfigError
from segment_pipeline.months import month_key

ADVISED_FEATURES = 8
"""More features than this are allowed, with a warning: a covariance then has more numbers than a month can support."""

WITHOUT_RESULT = frozenset({"name", "last_month", "output_dir", "publish", "engine", "operation"})
"""Keys that change no result of a month: what it is called, whether it is run, where, and with what."""


class Config(Settings):
    """The whole of `segmentation.yaml`. Make it with `load_config` or `parse_config`."""

    name: Name = setting(..., "", "What the report and the notifications call this segmentation.")
    first_month: Month = setting(..., "month", "First closed month to segment.", allowed="a month as YYYY-MM")
    last_month: Month | None = setting(
        None, "month", "Last month to segment; the last closed month when left out.", allowed="a month as YYYY-MM"
    )
    output_dir: Annotated[Path, BeforeValidator(absolute_path)] = setting(
        ".",
        "",
        "Where warehouse.duckdb, segments.duckdb and reports/ go, relative to this file.",
        validate_default=True,
        allowed="text: the path of a directory",
    )
    source: Source = setting(..., "", "Where the customers come from.")
    features: Annotated[tuple[Feature, ...], BeforeValidator(list_as_tuple)] = setting(
        ...,
        "",
        "What the segments are about: 4 to 6 features that say different things.",
        allowed="a list of features, each with at least a name",
    )
    quality: Annotated[QualitySettings, BeforeValidator(empty_means_defaults)] = QualitySettings()
    model: Annotated[ModelSettings, BeforeValidator(empty_means_defaults)] = ModelSettings()
    memory: Annotated[MemorySettings, BeforeValidator(empty_means_defaults)] = MemorySettings()
    refit: Annotated[RefitSettings, BeforeValidator(empty_means_defaults)] = RefitSettings()
    drift: Annotated[DriftSettings, BeforeValidator(empty_means_defaults)] = DriftSettings()
    alignment: Annotated[AlignmentSettings, BeforeValidator(empty_means_defaults)] = AlignmentSettings()
    tiers: Annotated[TierSettings, BeforeValidator(empty_means_defaults)] = TierSettings()
    roles: Annotated[RoleSettings, BeforeValidator(empty_means_defaults)] = RoleSettings()
    segments: Annotated[
        dict[Annotated[int, Field(ge=0, le=2**31 - 1)], SegmentOverride], BeforeValidator(empty_means_defaults)
    ] = setting(
        {},
        "",
        "Names and roles of your own, by segment_id.",
        allowed="whole segment ids, each with a mapping of name and role",
    )
    warnings: Annotated[WarningSettings, BeforeValidator(empty_means_defaults)] = WarningSettings()
    actions: Annotated[tuple[Action, ...], BeforeValidator(list_as_tuple)] = setting(
        (),
        "",
        "The action matrix: what to do with whom. Of the actions that apply to a customer the most specific is taken.",
        allowed="a list of actions, each with action_id, what, owner, channel, kpi and measure_days",
    )
    campaigns: CampaignsFile | None = setting(None, "", "The campaigns whose lift is measured; none when left out.")
    outcomes: OutcomesSource | None = setting(
        None, "", "What campaigns are judged by; without it their lift is not known."
    )
    validation: Annotated[ValidationSettings, BeforeValidator(empty_means_defaults)] = ValidationSettings()
    audit: AuditSource | None = setting(
        None, "", "The segments that the company already uses, to be compared with these; none when left out."
    )
    alternatives: Annotated[AlternativeSettings, BeforeValidator(empty_means_defaults)] = AlternativeSettings()
    publish: Annotated[PublishSettings, BeforeValidator(empty_means_defaults)] = PublishSettings()
    engine: Annotated[EngineSettings, BeforeValidator(empty_means_defaults), Field(validate_default=True)] = (
        EngineSettings()
    )
    operation: Annotated[OperationSettings, BeforeValidator(empty_means_defaults)] = OperationSettings()

    _path: Path = PrivateAttr(default=Path("segmentation.yaml"))

    # Rules over several keys are validators of the later field, not of the whole, so that they also speak up when
    # some other part of the file is wrong.

    @field_validator("last_month")
    @classmethod
    def _months_are_in_order(cls, last: date | None, info: ValidationInfo) -> date | None:
        first = info.data.get("first_month")
        if last is not None and first is not None and last < first:
            raise refusal((), month_key(last), f"{month_key(first)} (first_month) or later")
        return last

    @field_validator("features")
    @classmethod
    def _feature_names_are_columns(cls, features: tuple[Feature, ...], info: ValidationInfo) -> tuple[Feature, ...]:
        if not features:
            raise refusal((), "an empty list", "a list of features, each with at least a name; 4 to 6 work best")
        wrong: list[tuple[KeyPath, str, str]] = []
        first_with: dict[str, int] = {}
        reserved = (info.context or {}).get("reserved_names", ())
        for index, feature in enumerate(features):
            folded = feature.name.casefold()
            if folded in reserved:
                wrong.append(
                    ((index, "name"), show(feature.name), "a name that is no column of the pipeline's own; rename it")
                )
            elif folded in first_with:
                wrong.append(
                    (
                        (index, "name"),
                        f"{show(feature.name)} again (also features[{first_with[folded]}])",
                        "each feature once; upper and lower case count as the same",
                    )
                )
            first_with.setdefault(folded, index)
        in_model = sum(feature.use == "model" for feature in features)
        if in_model < min(2, len(features)):
            found = f"{'one feature' if in_model else 'no feature'} in the model and portraits beside it"
            wrong.append(((), found, "at least two features with `use: model`, which is the default"))
        source = info.data.get("source")
        if source is not None:
            wrong += not_from_source(features, source)
        if wrong:
            raise refusals(wrong)
        return features

    @field_validator("model")
    @classmethod
    def _hurdle_is_a_possible_value(cls, model: ModelSettings, info: ValidationInfo) -> ModelSettings:
        features = {feature.name: feature for feature in info.data.get("features", ()) if feature.use == "model"}
        if model.hurdle is None or not features:
            return model
        feature = features.get(model.hurdle.feature)
        if feature is None:
            raise refusal(
                ("hurdle", "feature"), show(model.hurdle.feature), f"a feature of the model: {either(list(features))}"
            )
        low, high = feature.valid.min, feature.valid.max
        if (low is not None and model.hurdle.value < low) or (high is not None and model.hurdle.value > high):
            span = f"from {'-inf' if low is None else show(low)} to {'inf' if high is None else show(high)}"
            raise refusal(("hurdle", "value"), show(model.hurdle.value), f"a valid value of {feature.name}, {span}")
        steps = model.hurdle.value / feature.resolution
        if abs(steps - round(steps)) > 1e-6:
            raise refusal(
                ("hurdle", "value"),
                show(model.hurdle.value),
                f"a value that {feature.name} can have: a multiple of its resolution, {show(feature.resolution)}",
            )
        return model

    @field_validator("roles")
    @classmethod
    def _roles_name_features(cls, roles: RoleSettings, info: ValidationInfo) -> RoleSettings:
        names = [feature.name for feature in info.data.get("features", ())]
        wrong: list[tuple[KeyPath, str, str]] = [
            ((key,), show(getattr(roles, key)), f"a feature of this file: {either(names)}")
            for key in sorted(roles.model_fields_set)
            if names and getattr(roles, key) not in names
        ]
        if wrong:
            raise refusals(wrong)
        return roles

    @field_validator("alternatives")
    @classmethod
    def _monetary_is_a_feature(cls, alternatives: AlternativeSettings, info: ValidationInfo) -> AlternativeSettings:
        source, features = info.data.get("source"), info.data.get("features", ())
        names = [feature.name for feature in features]
        if source is not None and source.orders is not None:
            names = [*ORDER_FEATURES, *(feature.name for feature in features if feature.is_own)]
        if alternatives.monetary is not None and names and alternatives.monetary not in names:
            raise refusal(("monetary",), show(alternatives.monetary), f"a feature of this file: {either(names)}")
        return alternatives

    @field_validator("segments")
    @classmethod
    def _segment_names_differ(cls, segments: dict[int, SegmentOverride]) -> dict[int, SegmentOverride]:
        first_with: dict[str, int] = {}
        for segment_id, override in segments.items():
            if override.name is None:
                continue
            other = first_with.setdefault(override.name.casefold(), segment_id)
            if other != segment_id:
                raise refusal(
                    (segment_id, "name"), f"{show(override.name)} again (also segment {other})", "a name of its own"
                )
        return segments

    @field_validator("actions")
    @classmethod
    def _every_action_can_be_reached(cls, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        wrong: list[tuple[KeyPath, str, str]] = []
        names: dict[str, int] = {}
        conditions: dict[object, int] = {}
        for index, action in enumerate(actions):
            other = names.setdefault(action.action_id.casefold(), index)
            if other != index:
                found = f"{show(action.action_id)} again (also actions[{other}])"
                wrong.append(((index, "action_id"), found, "each name once"))
            other = conditions.setdefault(action.conditions, index)
            if other != index:
                found = f"the conditions of actions[{other}] ({actions[other].action_id}) again"
                wrong.append(((index,), found, "other conditions: this action could never be reached"))
        if wrong:
            raise refusals(wrong)
        return actions

    @field_validator("engine")
    @classmethod
    def _engine_runs_the_query(cls, engine: EngineSettings, info: ValidationInfo) -> EngineSettings:
        source = info.data.get("source")
        query = source.query if source is not None else None
        if engine.spark is not None or source is None:
            return engine
        if query is not None and query.runs_on == "engine":
            raise refusal(("spark",), "nothing", "the server's address, as source.query.runs_on is engine")
        for key, table in source.tables.items():
            named = ".".join(map(str, ("source", *key)))
            raise refusal(("spark",), "nothing", f"the server's address, as {named} is {table}")
        return engine

    @field_validator("audit")
    @classmethod
    def _audit_has_a_source(cls, audit: AuditSource | None, info: ValidationInfo) -> AuditSource | None:
        source = info.data.get("source")
        if audit is not None and audit.path is None and source is not None and source.orders is not None:
            raise refusal(("path",), "nothing", "with a source of orders, a file with one row per customer")
        return audit

    @property
    def path(self) -> Path:
        """The file this was read from."""
        return self._path

    def line_of(self, *key: str | int) -> int:
        """The line of a key in the file as it is now, for what turns out to be wrong when it has long been read; 1
        where it has become unreadable since."""
        try:
            return locate(text_of(self.path, ""), self.path).line_of(key)
        except ConfigError:
            return 1

    def label_of(self, *key: str | int) -> str:
        """The key as it is written in errors, such as features[0].name."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).removeprefix(".")

    @property
    def settings(self) -> str:
        """The values that can change a result, as JSON.

        The validated ones with the defaults filled in: comments, order of keys and spelling (`1` or `1.0`) do not
        count, nor does what stands in WITHOUT_RESULT, so that two machines agree, nor what decides only whether a month
        is run, or which colour a figure has.
        """
        content = self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(WITHOUT_RESULT, True),
                "features": {"__all__": {"better"}},
                "source": {"late_data": True, "feed_ends_early": True, "query": {"runs_on"}},
                "quality": {"empty_month"},
            },
        )
        return json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))

    @property
    def config_hash(self) -> str:
        """12 hex digits that change with `settings`."""
        return hashlib.sha256(self.settings.encode()).hexdigest()[:12]

    @property
    def project(self) -> str:
        """How pipeline_runs calls this configuration: its name, and its file."""
        return f"{self.name} ({self.path.name})"

    def is_project(self, called: str | None) -> bool:
        """Whether pipeline_runs calls this configuration so, or did before its name or its file changed; rows of before
        the column, None, say nothing."""
        return called is None or called.startswith(f"{self.name} (") or called.endswith(f"({self.path.name})")

    @property
    def warehouse_path(self) -> Path:
        """The pipeline's own database."""
        return self.output_dir / "warehouse.duckdb"

    @property
    def published_path(self) -> Path:
        """The database that consumers read."""
        return self.output_dir / "segments.duckdb"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all configured features, in the order of the file."""
        return tuple(feature.name for feature in self.features)

    @property
    def model_features(self) -> tuple[Feature, ...]:
        """The features that the mixture is fitted to, in the order of the file; the others are portraits."""
        return tuple(feature for feature in self.features if feature.use == "model")

    @property
    def model_feature_names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(feature.name for feature in self.model_features)

    @property
    def portrait_features(self) -> tuple[Feature, ...]:
        """The configured features that describe segments and make none, in the order of the file."""
        return tuple(feature for feature in self.features if feature.use == "portrait")

    def without_portraits(self, also: Collection[str] = ()) -> "Config":
        """The same file with the model's features alone, for what only a model looks at; and with those that another
        one looks at `also`."""
        kept = tuple(feature for feature in self.features if feature.use == "model" or feature.name in also)
        return self.model_copy(update={"features": kept})

    @property
    def raw_feature_names(self) -> tuple[str, ...]:
        """The feature columns of `raw_customers`: all that order lines give, so that profiles can show what the model
        leaves out, and the user's own; otherwise the configured ones."""
        if self.source.orders is None:
            return self.feature_names
        return (*ORDER_FEATURES, *(feature.name for feature in self.features if feature.is_own))

    @property
    def recency_feature(self) -> str | None:
        """The feature that `roles.recency` names; None when there is none such (then no roles are given)."""
        return self.roles.recency if self.roles.recency in self.raw_feature_names else None

    @property
    def frequency_feature(self) -> str | None:
        """The feature that `roles.frequency` names; None when there is none such (then no roles are given)."""
        return self.roles.frequency if self.roles.frequency in self.raw_feature_names else None

    @property
    def monetary_feature(self) -> str | None:
        """The feature that says what a customer spends; None when there is none such."""
        name = self.alternatives.monetary or MONETARY
        return name if name in self.raw_feature_names else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is allowed but probably not wanted, as plain sentences."""
        found = []
        if len(self.model_features) > ADVISED_FEATURES:
            found.append(
                f"{len(self.model_features)} features are many: with more than {ADVISED_FEATURES}, segments are hard "
                "to tell apart and to explain. Keep the 4 to 6 that say different things, the others as portraits."
            )
        for key, feature in (("recency", self.recency_feature), ("frequency", self.frequency_feature)):
            if feature is None:
                found.append(
                    f"No feature is called {getattr(self.roles, key)}, so segments get no role (engaged, casual, "
                    f"at_risk, dormant). Name the feature that measures {key} under `roles: {key}`."
                )
        return tuple(found)


def load_config(path: Path, reserved_names: Collection[str] = ()) -> Config:
    """Read and check the user's file. Raises ConfigError with every problem, one `FILE:LINE: KEY: found ...` each.

    reserved_names : those that no feature may have, in lower case. Only the tables can tell, which lie above: who lets
    a file in hands over the catalogue's.
    """
    advice = (
        "the path of a segmentation.yaml. Check --config, or start from the data/segmentation.yaml that ships with the "
        "project."
    )
    return parse_config(text_of(path, advice), path, reserved_names)


def parse_config(text: str, path: Path, reserved_names: Collection[str] = ()) -> Config:
    """As `load_config`, from text. `path` is named in errors, and relative paths start in its directory."""
    path = Path(path)
    located = locate(text, path)
    if located.value is None:
        required = [name for name, field in Config.model_fields.items() if field.is_required()]
        raise ConfigError(
            error_report(path, [Problem(1, "", "an empty file", f"a mapping with at least {', '.join(required)}")])
        )
    try:
        given = {"directory": path.parent.absolute(), "reserved_names": reserved_names}
        config = Config.model_validate(located.value, context=given)
    except ValidationError as error:
        raise ConfigError(error_report(path, problems_of(error, located, Config))) from error
    config._path = path.absolute()
    return config


def setting_docs() -> tuple[SettingDoc, ...]:
    """Every key that holds a value, in the file's order; `[]` stands for a list item, `<id>` for a segment id."""
    return tuple(docs_of(Config, ""))
