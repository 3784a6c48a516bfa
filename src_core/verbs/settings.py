"""Change settings of a project by their names: ``tissue.threshold=0.1``.

One way for every setting of every stage: the names are those in ``project.json``, the values are
checked as they are there, and `settings_help` lists them from the same declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from src_core.config import Config, FieldSpec, Help
from src_core.errors import ConfigError
from src_core.provenance import ConfigT

__all__ = ["Settings", "settings_help", "with_settings"]

Settings = Annotated[
    tuple[str, ...], Help("Change settings of the project: NAME=VALUE ..., listed below")
]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def with_settings(config: ConfigT, settings: Sequence[str]) -> ConfigT:
    """Return `config` with some settings changed.

    Parameters
    ----------
    config : Config
        What holds without them.
    settings : sequence of str
        ``name=value``; a dot leads into the settings of a stage. Names in a list are parted by
        commas, and nothing after the sign means none, or automatic.

    Raises
    ------
    ConfigError
        If there is no such setting, or it cannot have the value.
    """
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign:
            raise ConfigError(
                f"{setting!r} is not a setting such as tissue.threshold=0.1; name slides before "
                "the settings."
            )
        config = _changed(config, name.strip().split("."), text.strip(), whole=name.strip())
    return config


def settings_help(config: type[Config], *stages: str) -> str:
    """Return the settings of some stages, a line each: name, default, help and range."""
    lines = ["settings (--set NAME=VALUE; kept in project.json, empty means none or automatic):"]
    for stage in config.fields():
        if stage.name in stages and issubclass(stage.type, Config):
            lines += [_line(f"{stage.name}.{spec.name}", spec) for spec in stage.type.fields()]
    return "\n".join(lines)


def _line(name: str, spec: FieldSpec) -> str:
    reach = f", {spec.range.low:g} to {spec.range.high:g}" if spec.range else ""
    reach = f", one of {', '.join(spec.choices)}" if spec.choices else reach
    default = ",".join(spec.default) if isinstance(spec.default, tuple) else spec.default
    shown = "none" if default is None or default == "" else default
    return f"  {name}\n      {spec.help} (default {shown}{reach})"


def _changed(config: ConfigT, path: list[str], text: str, *, whole: str) -> ConfigT:
    specs = {spec.name: spec for spec in config.fields()}
    spec = specs.get(path[0])
    if spec is None:
        known = ", ".join(specs)
        raise ConfigError(f"There is no setting {whole!r}; {path[0]!r} is none of {known}.")
    inner = getattr(config, spec.name)
    if isinstance(inner, Config):
        if len(path) == 1:
            raise ConfigError(f"{whole!r} has settings of its own; name one: {whole}.NAME=VALUE.")
        value: Any = _changed(inner, path[1:], text, whole=whole).to_dict()
    elif len(path) > 1:
        raise ConfigError(f"There is no setting {whole!r}; {path[0]!r} has none of its own.")
    else:
        value = _value(spec, text, whole)
    return config.replace(**{spec.name: value})


def _value(spec: FieldSpec, text: str, name: str) -> Any:
    if spec.type is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if spec.optional and text.lower() in ("", "none"):
        return None
    if text in spec.words:
        return text
    if spec.type is bool and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    if spec.type in (int, float):
        try:
            return spec.type(text)
        except ValueError as error:
            kind = "a whole number" if spec.type is int else "a number"
            raise ConfigError(f"{name} is {text!r}; give {kind}.") from error
    return text
