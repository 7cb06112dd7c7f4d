"""What is declared of an encoder when it is brought in: an `EncoderSpec` that may leave the network to the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from models.encoder import Described, EncoderSpec
from models.preprocessing import Preprocessing

if TYPE_CHECKING:
    from models.network import Network  # comes with torch, and whoever declares need not wait for that

NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class DeclaredBackbone(BaseModel):
    """The network, as far as it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str | None = Field(None, description="Name of the network; told by the weights where left out.")
    arguments: dict[str, Any] = Field({}, description="Keyword arguments of the network.")
    preprocessing: Preprocessing = Field(
        description="How a picture becomes its input; `mean` and `std` are the file's own where it has some and they "
        "are left out."
    )
    maps: tuple[int, int, int] | None = Field(None, description="D, h, w of its maps; measured, and checked if given.")


class EncoderDeclaration(Described):
    """What is declared of an encoder. An `EncoderSpec` as JSON is one too."""

    backbone: DeclaredBackbone

    @classmethod
    def of(cls, spec: EncoderSpec) -> EncoderDeclaration:
        """What a complete specification declares."""
        return cls.model_validate(spec.model_dump())

    def completed(self, network: Network, preprocessing: Preprocessing, maps: tuple[int, int, int]) -> EncoderSpec:
        """The specification, with what the file told."""
        backbone = {
            "architecture": network.architecture,
            "arguments": network.arguments,
            "preprocessing": preprocessing.model_dump(),
            "maps": maps,
        }
        return EncoderSpec.model_validate(self.model_dump() | {"backbone": backbone})
