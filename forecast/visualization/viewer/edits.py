"""Edits of a scene: each is one call of a method of `forecast.World`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from forecast.inference import World

Point: TypeAlias = tuple[float, float]
Pose: TypeAlias = tuple[float, float, float]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Poses: TypeAlias = Annotated[list[Pose], msgspec.Meta(min_length=1, max_length=200)]
Size: TypeAlias = tuple[
    Annotated[float, msgspec.Meta(le=100)],
    Annotated[float, msgspec.Meta(le=100)],
    Annotated[float, msgspec.Meta(le=100)],
]


class _Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """An edit: its tag is a method of `World`, its fields are the arguments by name."""

    @property
    def method(self) -> str:
        """The method of `World`."""
        return str(self.__struct_config__.tag)

    def arguments(self) -> dict[str, Any]:
        """The arguments that are given."""
        every = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in every.items() if value is not None}

    def apply(self, world: World) -> None:
        """Makes the call.

        Raises:
            ForecastError: The world refuses it.
        """
        getattr(world, self.method)(**self.arguments())

    def code(self) -> str:
        """The call as a line of Python."""
        given = ", ".join(f"{name}={_written(value)}" for name, value in self.arguments().items())
        return f"world.{self.method}({given})"


class ChangeEdit(_Edit, frozen=True, tag="change"):
    """See `World.change`."""

    agent: Name
    position_m: Point | None = None
    heading_rad: float | None = None
    speed_mps: float | None = None


class GoToEdit(_Edit, frozen=True, tag="go_to"):
    """See `World.go_to`."""

    agent: Name
    goal_m: Point
    speed_mps: float | None = None


class AddEdit(_Edit, frozen=True, tag="add"):
    """See `World.add`."""

    agent: Name
    kind: Literal["pedestrian", "cyclist", "vehicle"]
    position_m: Point
    heading_rad: float = 0.0
    speed_mps: float = 0.0
    size_m: Size | None = None


class ObstacleEdit(_Edit, frozen=True, tag="put_obstacle"):
    """See `World.put_obstacle`."""

    name: Name
    position_m: Point
    size_m: Size
    heading_rad: float = 0.0


class RemoveEdit(_Edit, frozen=True, tag="remove"):
    """See `World.remove`."""

    agent: Name


class FollowEdit(_Edit, frozen=True, tag="follow"):
    """See `World.follow`."""

    poses: Poses
    agent: Name | None = None


class ActEdit(_Edit, frozen=True, tag="act"):
    """See `World.act`."""

    acceleration_mps2: float
    yaw_rate_radps: float = 0.0
    agent: Name | None = None


Edit: TypeAlias = ChangeEdit | GoToEdit | AddEdit | ObstacleEdit | RemoveEdit | FollowEdit | ActEdit


def _written(value: Any) -> str:
    """A value as Python, with the same bits when it is read again."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return repr(value)
