"""Settings: the environment, checked once, as frozen typed values.

`load` is the way in: it takes the environment, or any mapping, and reports everything that is wrong at once. A Settings
made directly takes nothing from the environment, so the demo and the tests cannot touch what a machine happens to set.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from mailculator import environment
from mailculator.errors import ConfigError, Problem
from mailculator.settings.service import Mail, Signs, Work
from mailculator.settings.stores import Dynamodb, Mariadb, Overlap, Sqlite, Switches
from mailculator.settings.transport import Callback, Relay
from mailculator.timing import Timing

Need = Literal["store", "mysql", "sqlite", "dynamodb", "smtp", "callback", "paths"]
"""What a command uses: `store` is at least one enabled store and each enabled one complete; `mysql`, `sqlite` and
`dynamodb` are that store, enabled or not; `paths` are the directories of attachments, EML files and the journal."""

EVERYTHING: frozenset[Need] = frozenset({"store", "smtp", "callback", "paths"})
"""What `run` and `check` need."""


# The last base's fields come first, and their order is that of .env.example and docs/configuration.md.
class Settings(Signs, Work, Mail, Callback, Relay, Overlap, Dynamodb, Sqlite, Mariadb, Switches, BaseSettings):
    """Everything an operator can set, put together from mailculator.settings."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True, hide_input_in_errors=True
    )

    @property
    def timing(self) -> Timing:
        """Durations, with the lease and the giving up that the operator chose, scaled."""
        # A renewal that waits for a hanging store must come back while the lease still holds.
        base = Timing()
        chosen = replace(
            base,
            lease=self.lease,
            renew_every=self.lease / 3,
            lease_margin=self.lease / 6,
            store_timeout=min(base.store_timeout, self.lease / 3),
            callback_give_up=self.callback_give_up,
        )
        return chosen if self.time_scale == 1.0 else chosen.scaled(self.time_scale)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load` reads the environment, with the files of secrets, and nothing else does."""
        return (init_settings,)


def load(environ: Mapping[str, str] | None = None, *, needs: Collection[Need] = EVERYTHING) -> Settings:
    """The settings, from the environment or from `environ`.

    An empty value counts as unset. A value that is malformed is a problem whoever asks; what is missing, or does not
    fit together, is one only where it is needed.

    Arguments:
        needs: what the command at hand uses; a command that only looks at a queue needs no relay.

    Errors: ConfigError with every problem at once, never with a secret's value.
    """
    from mailculator import config_checks  # it checks Settings, so it comes after them

    given, problems = environment.read(os.environ if environ is None else environ, Settings)
    settings, malformed = _validate(given)
    problems += malformed
    bad = {problem.variable.removesuffix("_FILE") for problem in problems}
    if any(name.endswith("_PIPELINES_ENABLED") for name in bad):
        bad.add(config_checks.SWITCH)  # which queues are meant is not known, so none is missing
    problems += [found for found in config_checks.problems(settings, frozenset(needs)) if found.variable not in bad]
    if problems:
        order = {name: index for index, name in enumerate(environment.fields(Settings))}
        raise ConfigError(sorted(problems, key=lambda problem: order.get(problem.variable.removesuffix("_FILE"), 999)))
    return settings


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each MAILCULATOR_ variable that nobody reads, with the name that was probably meant."""
    return environment.unknown(os.environ if environ is None else environ, Settings)


def redacted(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """Every variable with its value, secrets as `***`, and where it came from: environment, file or default.

    Arguments:
        environ: what the settings were loaded from.
    """
    source = os.environ if environ is None else environ
    return {
        name: (environment.shown(field, getattr(settings, attribute)), environment.origin(source, name))
        for name, (attribute, field) in environment.fields(Settings).items()
    }


def _validate(given: dict[str, str]) -> tuple[Settings, list[Problem]]:
    """The settings of the well-formed values, and the problems of the others.

    The malformed ones are left at their defaults, so that what does not fit together is found in the same round.
    """
    source = EnvSettingsSource(Settings)
    source.env_vars = given
    values: dict[str, Any] = source()
    try:
        return Settings(**values), []
    except ValidationError as error:
        found = environment.problems(error.errors(include_url=False, include_context=False), Settings, given)
    # Outside the except clause: an error raised from here on must not carry the values in its context.
    bad = {problem.variable for problem in found}
    return Settings(**{name: value for name, value in values.items() if name not in bad}), found
