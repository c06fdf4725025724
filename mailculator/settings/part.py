"""What every part of the settings is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from mailculator import setting_values

Flag = Annotated[bool, BeforeValidator(setting_values.flag)]


class Part(BaseModel):
    """Fields of the settings that belong together; never made alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)
