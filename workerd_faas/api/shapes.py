"""Domain values as the JSON that Wrangler and wrkst read."""

from collections.abc import Mapping
from typing import Any, Final

from workerd_faas.domain.model import (
    Alias,
    Binding,
    BindingKind,
    Deployment,
    Function,
    PublicUrls,
    Reach,
    Version,
    timestamp,
)
from workerd_faas.usecases.workers import Stored

_VALUE_KEYS: Final[Mapping[BindingKind, str]] = {
    BindingKind.PLAIN_TEXT: "text",
    BindingKind.JSON: "json",
}


def binding(value: Binding) -> dict[str, Any]:
    """
    A binding as it was uploaded.
    """
    shown: dict[str, Any] = {"name": value.name, "type": value.kind.value}
    if value.kind is BindingKind.SECRET_TEXT:
        return shown
    key = _VALUE_KEYS.get(value.kind)
    if key is not None:
        return {**shown, key: value.value}
    # Whose function a granted one is, is its owner's to tell.
    return {**shown, **{name: of for name, of in value.value.items() if name != "owner"}}


def version(value: Version, urls: PublicUrls) -> dict[str, Any]:
    """
    One version, with everything `versions view` shows.
    """
    return {
        "id": value.id,
        "number": value.number,
        "startup_time_ms": value.startup_ms,
        "metadata": {
            "created_on": timestamp(value.created_at),
            "modified_on": timestamp(value.created_at),
            "author_email": value.author,
            "author_id": value.account_id,
            "source": value.source,
            "has_preview": True,
        },
        "annotations": _annotations(value.message, value.tag, value.triggered_by),
        "resources": {
            "script": {"etag": value.bundle, "handlers": list(value.handlers)},
            "script_runtime": {
                "compatibility_date": value.compatibility_date,
                "compatibility_flags": list(value.compatibility_flags),
                "usage_model": "standard",
            },
            "bindings": [binding(each) for each in value.bindings],
        },
        "size": value.size,
        "urls": {"version": urls.version(value.function, value.id)},
    }


def stored(value: Stored, urls: PublicUrls) -> dict[str, Any]:
    """
    The answer to an upload: the version, and where it answers.
    """
    name = value.version.function
    document = version(value.version, urls)
    document["urls"] = {
        "function": urls.function(name),
        "version": urls.version(name, value.version.id),
        "aliases": {value.alias: urls.selected(name, value.alias)} if value.alias else {},
    }
    return document


def script(stored_: Stored, urls: PublicUrls) -> dict[str, Any]:
    """
    The answer to `PUT scripts/N`. Wrangler takes `deployment_id` for the version's id.
    """
    value = stored_.version
    return {
        "id": value.function,
        "tag": value.id.replace("-", ""),
        "etag": value.bundle,
        "deployment_id": value.id,
        "version_id": value.id,
        "handlers": list(value.handlers),
        "has_modules": stored_.has_modules,
        "has_assets": value.assets is not None,
        "usage_model": "standard",
        "compatibility_date": value.compatibility_date,
        "compatibility_flags": list(value.compatibility_flags),
        "created_on": timestamp(value.created_at),
        "modified_on": timestamp(value.created_at),
        "startup_time_ms": value.startup_ms,
        "size": value.size,
        "urls": stored(stored_, urls)["urls"],
    }


def deployment(value: Deployment) -> dict[str, Any]:
    """
    One deployment.
    """
    return {
        "id": value.id,
        "created_on": timestamp(value.created_at),
        "source": value.source,
        "author_email": value.author,
        "strategy": "percentage",
        "versions": [
            {"version_id": split.version_id, "percentage": split.percentage}
            for split in value.splits
        ],
        "annotations": _annotations(
            value.message,
            None,
            # Wrangler has no word for it, and says then what it was done with.
            None if value.triggered_by == "deployment" else value.triggered_by,
        ),
    }


def function(value: Function, current: Deployment | None, urls: PublicUrls) -> dict[str, Any]:
    """
    One function in a list.
    """
    return {
        "id": value.name,
        "tag": value.tag,
        "created_on": timestamp(value.created_at),
        "modified_on": timestamp(value.modified_at),
        "usage_model": "standard",
        "deployment": None if current is None else deployment(current),
        "urls": {"function": urls.function(value.name)},
        "enabled": value.reach.enabled,
        "previews_enabled": value.reach.previews,
    }


def alias(value: Alias, function_name: str, urls: PublicUrls) -> dict[str, Any]:
    """
    One alias.
    """
    return {
        "name": value.name,
        "alias": value.name,
        "version_id": value.version_id,
        "url": urls.selected(function_name, value.name),
        "created_on": timestamp(value.created_at),
        "modified_on": timestamp(value.modified_at),
    }


def subdomain(value: Reach) -> dict[str, bool]:
    """
    Which hosts of a function answer.
    """
    return {"enabled": value.enabled, "previews_enabled": value.previews}


def _annotations(
    message: str | None, tag: str | None, triggered_by: str | None
) -> Mapping[str, str]:
    found = {
        "workers/message": message,
        "workers/tag": tag,
        "workers/triggered_by": triggered_by,
    }
    return {key: text for key, text in found.items() if text is not None}
