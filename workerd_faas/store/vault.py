"""
Encryption of secrets at rest with Fernet (AES-128-CBC and HMAC-SHA-256, from `cryptography`).

Several keys may be there: the first one encrypts, all of them decrypt. So a key is replaced by
putting a new one before it, encrypting everything anew, and taking the old one away.
"""

import json
from collections.abc import Callable, Sequence

import attrs
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from workerd_faas.domain.errors import Kind, Problem
from workerd_faas.usecases import ports


@attrs.frozen
class FernetVault:
    """
    `usecases.ports.Vault`.

    Attributes:
        keys: Gives the keys, each the base64url of 32 bytes, at least one. It is asked each time,
            so that a key file may change while the daemon runs.
    """

    _keys: Callable[[], Sequence[str]] = attrs.field(repr=False)

    def seal(self, id_: str, text: str) -> str:
        """
        See `usecases.ports.Vault.seal`.
        """
        return self._all().encrypt(json.dumps([id_, text]).encode()).decode("ascii")

    def open(self, id_: str, sealed: str) -> str:
        """
        See `usecases.ports.Vault.open`.
        """
        return _opened(self._all(), id_, sealed)

    def renew(self, id_: str, sealed: str) -> str | None:
        """
        The same secret under the first key; None if that is what it is under already.

        Raises:
            Problem: `SECRET_UNREADABLE`.
        """
        try:
            _opened(Fernet(self._keys()[0]), id_, sealed)
        except Problem:
            return self.seal(id_, self.open(id_, sealed))
        return None

    def _all(self) -> MultiFernet:
        return MultiFernet([Fernet(key) for key in self._keys()])


def _opened(fernet: Fernet | MultiFernet, id_: str, sealed: str) -> str:
    try:
        found, text = json.loads(fernet.decrypt(sealed.encode()))
    except InvalidToken:
        raise Problem(
            kind=Kind.SECRET_UNREADABLE,
            message="A stored secret cannot be decrypted: the operator has to give the server "
            "the key that it was encrypted with (SECRETS_KEY).",
        ) from None
    if found != id_:
        # Somebody with access to the database put one secret in the place of another.
        raise Problem(
            kind=Kind.SECRET_UNREADABLE, message="A stored secret is not the one it should be."
        )
    assert isinstance(text, str)
    return text


_check: type[ports.Vault] = FernetVault
