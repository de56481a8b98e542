"""The API's resources as calls: one account's functions, and the user's own things."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from workerd_faas.cli.client.api import Api
from workerd_faas.cli.client.http import Progress
from workerd_faas.cli.failure import Failure

if TYPE_CHECKING:
    from workerd_faas.cli.assets.session import Uploaded
    from workerd_faas.cli.assets.site import Site
    from workerd_faas.cli.client.multipart import Form

Record = Mapping[str, Any]
"""An object of the API, as it came."""


@attrs.frozen
class AccountRef:
    """
    An account that the user belongs to.
    """

    id: str
    name: str
    roles: tuple[str, ...] = ()


def _records(result: Any, key: str | None = None) -> list[Record]:
    """
    A list in a result.

    Raises:
        Failure: there is none, so this server is not one we know.
    """
    found = result.get(key) if key is not None and isinstance(result, dict) else result
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Failure("The server's answer has not the expected shape; is `wrkst` too old for it?")
    return found


def _record(result: Any) -> Record:
    if not isinstance(result, dict):
        raise Failure("The server's answer has not the expected shape; is `wrkst` too old for it?")
    return result


@attrs.frozen
class UserApi:
    """
    What belongs to whoever asks.
    """

    api: Api

    def accounts(self) -> Sequence[AccountRef]:
        """
        The accounts one may act for.
        """
        found = []
        for membership in _records(self.api.pages("memberships")):
            account = _record(membership.get("account"))
            roles = membership.get("roles") or []
            found.append(
                AccountRef(
                    str(account.get("id", "")),
                    str(account.get("name", "")),
                    tuple(str(role) for role in roles),
                )
            )
        return found

    def user(self) -> Record:
        """
        Who is logged in.
        """
        return _record(self.api.get("user"))

    def tokens(self) -> list[Record]:
        """
        API tokens, without their values.
        """
        return _records(self.api.get("user", "tokens"))

    def create_token(
        self, name: str, expires_on: str | None, scopes: Sequence[str], functions: Sequence[str]
    ) -> Record:
        """
        Make an API token; the answer is the only place where its value is ever seen.

        Args:
            name: For people.
            expires_on: A time stamp; None for never.
            scopes: What it may do; without any, everything.
            functions: The only ones that it is for; without any, all.
        """
        document: dict[str, object] = {"name": name}
        if expires_on is not None:
            document["expires_on"] = expires_on
        if scopes:
            document["scopes"] = list(scopes)
        if functions:
            document["functions"] = list(functions)
        return _record(self.api.call("POST", "user", "tokens", document=document))

    def revoke_token(self, token_id: str) -> None:
        """
        End an API token.
        """
        self.api.call("DELETE", "user", "tokens", token_id)

    def sessions(self) -> list[Record]:
        """
        Logins that have not ended.
        """
        return _records(self.api.get("user", "sessions"))

    def revoke_session(self, session_id: str) -> None:
        """
        End a login.
        """
        self.api.call("DELETE", "user", "sessions", session_id)


@attrs.frozen
class ScriptsApi:
    """
    The functions of an account.
    """

    api: Api
    account: AccountRef

    def _path(self, *rest: str) -> tuple[str, ...]:
        return ("accounts", self.account.id, "workers", "scripts", *rest)

    def list(self) -> Sequence[Record]:
        """
        All functions.
        """
        return _records(self.api.get(*self._path()))

    def delete(self, name: str) -> None:
        """
        Remove a function with its versions and aliases.
        """
        self.api.call("DELETE", *self._path(name))

    def upload_site(
        self, name: str, site: "Site", progress: Callable[[int, int], None]
    ) -> "Uploaded":
        """
        Upload the files of a site that the server lacks; `assets.session.upload_site`.
        """
        from workerd_faas.cli.assets.session import upload_site

        return upload_site(self.api, self._path(name), self.account.id, site, progress)

    def deploy(self, name: str, form: "Form", progress: Progress | None) -> Record:
        """
        Upload and deploy in one transaction.
        """
        return _record(
            self.api.call("PUT", *self._path(name), body=form, progress=progress, repeatable=True)
        )

    def upload(self, name: str, form: "Form", progress: Progress | None) -> Record:
        """
        Upload a version without deploying it.
        """
        return _record(
            self.api.call(
                "POST",
                *self._path(name, "versions"),
                body=form,
                progress=progress,
                repeatable=True,
            )
        )

    def versions(self, name: str) -> Sequence[Record]:
        """
        The newest first.
        """
        return _records(self.api.get(*self._path(name, "versions")), "items")

    def version(self, name: str, version_id: str) -> Record:
        """
        One version.
        """
        return _record(self.api.get(*self._path(name, "versions", version_id)))

    def deployments(self, name: str) -> tuple[Sequence[Record], Record]:
        """
        The current one first, and the URLs of the function if the server tells them.
        """
        result = self.api.get(*self._path(name, "deployments"))
        urls = result.get("urls") if isinstance(result, dict) else None
        return _records(result, "deployments"), urls if isinstance(urls, dict) else {}

    def create_deployment(
        self,
        name: str,
        shares: Sequence[tuple[str, float]],
        message: str | None,
        *,
        force: bool = False,
    ) -> Record:
        """
        Let versions serve the function by their shares, in per cent; with `force` also an earlier
        one although secrets have changed since.
        """
        document = {
            "strategy": "percentage",
            "versions": [
                {"version_id": version_id, "percentage": percentage}
                for version_id, percentage in shares
            ],
            "annotations": {} if message is None else {"workers/message": message},
        }
        path = self._path(name, "deployments")
        query = {"force": "true"} if force else None
        return _record(self.api.call("POST", *path, query=query, document=document))

    def schedules(self, name: str) -> Sequence[Record]:
        """
        When a function runs by the clock, and how its last runs ended.
        """
        return _records(self.api.get(*self._path(name, "schedules")), "schedules")

    def set_schedules(self, name: str, crons: Sequence[str]) -> Sequence[Record]:
        """
        Let a function have exactly these schedules.
        """
        path = self._path(name, "schedules")
        document = [{"cron": cron} for cron in crons]
        return _records(
            self.api.call("PUT", *path, document=document, repeatable=True), "schedules"
        )

    def set_reach(self, name: str, enabled: bool, previews: bool) -> None:
        """
        Open or close a function's hosts.

        Args:
            name: The function.
            enabled: Whether requests from outside reach it at its own.
            previews: The same of those of its versions and aliases.
        """
        document = {"enabled": enabled, "previews_enabled": previews}
        self.api.call("POST", *self._path(name, "subdomain"), document=document, repeatable=True)

    def aliases(self, name: str) -> Sequence[Record]:
        """
        All aliases of a function.
        """
        return _records(self.api.pages(*self._path(name, "aliases")))

    def set_alias(self, name: str, alias: str, version_id: str) -> Record:
        """
        Let an alias name a version.
        """
        return _record(
            self.api.call(
                "PUT",
                *self._path(name, "aliases", alias),
                document={"version_id": version_id},
                repeatable=True,
            )
        )

    def delete_alias(self, name: str, alias: str) -> None:
        """
        Remove an alias.
        """
        self.api.call("DELETE", *self._path(name, "aliases", alias))
