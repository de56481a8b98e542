"""
Secrets of functions: sealed before they are stored, opened only to be checked or to run.

A `secret_text` binding on its way in or out has the text; that of a stored version has
`{"secret": id}`. Versions that keep a secret share it under one id.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence

import attrs

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.domain.model import Binding, BindingKind
from workerd_faas.usecases.ports import Catalog, Vault


@attrs.frozen(kw_only=True)
class Sealed:
    """
    Bindings as they are stored, and the encrypted texts of those that are new, by id.
    """

    bindings: tuple[Binding, ...]
    secrets: Mapping[str, str]


@attrs.frozen(kw_only=True)
class SecretValues:
    """
    The way from texts to stored secrets and back.
    """

    catalog: Catalog
    vault: Vault

    def seal(self, bindings: Iterable[Binding]) -> Sealed:
        """
        Encrypt what is new; what is stored already stays as it is.
        """
        kept, secrets = [], {}
        for binding in bindings:
            if binding.kind is BindingKind.SECRET_TEXT and isinstance(binding.value, str):
                id_ = str(uuid.uuid4())
                secrets[id_] = self.vault.seal(id_, binding.value)
                kept.append(attrs.evolve(binding, value={"secret": id_}))
            else:
                kept.append(binding)
        return Sealed(bindings=tuple(kept), secrets=secrets)

    async def reveal(self, bindings: Iterable[Binding]) -> tuple[Binding, ...]:
        """
        The bindings with the texts of all secrets.

        Raises:
            Problem: `SECRET_UNREADABLE`.
        """
        bindings = tuple(bindings)
        ids = [id_ for binding in bindings if (id_ := _stored_id(binding)) is not None]
        if not ids:
            return bindings
        stored = await self.catalog.secrets(ids)
        return tuple(self._opened(binding, stored) for binding in bindings)

    def _opened(self, binding: Binding, stored: Mapping[str, str]) -> Binding:
        id_ = _stored_id(binding)
        if id_ is None:
            return binding
        if id_ not in stored:
            raise Problem(
                kind=Kind.SECRET_UNREADABLE,
                message=f"The secret {binding.name!r} is missing from the server's database.",
            )
        return attrs.evolve(binding, value=self.vault.open(id_, stored[id_]))

    async def changed(self, one: Iterable[Binding], other: Iterable[Binding]) -> Sequence[str]:
        """
        Names of the secrets that the two do not have in common, or have with other texts.
        """
        first, second = ({b.name: b for b in bs if _is_secret(b)} for bs in (one, other))
        differing = [n for n in first.keys() | second.keys() if first.get(n) != second.get(n)]
        texts = [
            {b.name: b.value for b in await self.reveal(bs[n] for n in differing if n in bs)}
            for bs in (first, second)
        ]
        return sorted(n for n in differing if texts[0].get(n) != texts[1].get(n))


def _is_secret(binding: Binding) -> bool:
    return binding.kind is BindingKind.SECRET_TEXT


def _stored_id(binding: Binding) -> str | None:
    if _is_secret(binding) and isinstance(binding.value, dict):
        id_ = binding.value["secret"]
        assert isinstance(id_, str)
        return id_
    return None


def with_secrets(
    bindings: Sequence[Binding], changes: Mapping[str, str | None], *, must_exist: bool = False
) -> tuple[Binding, ...]:
    """
    The bindings with these secrets set, or (None) taken away.

    Args:
        must_exist: Whether it is a mistake to take away one that is not there.

    Raises:
        Problem: `BINDING_NOT_FOUND`; `BINDING_NAME_TAKEN` by a binding that is no secret.
    """
    there = {binding.name: binding for binding in bindings}
    for name, text in changes.items():
        found = there.get(name)
        if text is None and (found is None or not _is_secret(found)):
            if must_exist:
                raise Problem(
                    kind=Kind.BINDING_NOT_FOUND, message=f"There is no secret named {name!r}."
                )
            continue
        if found is not None and not _is_secret(found):
            raise Problem(
                kind=Kind.BINDING_NAME_TAKEN,
                message=f"Binding name '{name}' already in use by a binding of the type "
                f"{found.kind.value}. Please use a different name and try again.",
            )
        if text is None:
            del there[name]
        else:
            there[name] = Binding(name=name, kind=BindingKind.SECRET_TEXT, value=text)
    return tuple(there.values())
