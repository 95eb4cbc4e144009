"""What every section shares: it is frozen, and closed to unknown keys."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Network = Literal["conv", "mlp", "transformer"]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the project file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
