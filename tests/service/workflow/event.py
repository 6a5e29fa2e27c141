"""What made the workflow run, and the values that a repository's settings give to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ZERO_SHA = "0" * 40


@dataclass
class Event:
    """The event: which repository, at which commit; ``payload`` is merged over a plausible default."""

    repository: str = "acme/web"
    ref: str = "refs/heads/main"
    sha: str = ZERO_SHA
    name: str = "push"
    server_url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    actor: str = "dev"
    base_ref: str = ""
    head_ref: str = ""
    default_branch: str = "main"
    run_id: int = 42
    run_number: int = 7
    payload: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        owner, name = self.repository.split("/")
        url = f"{self.server_url}/{self.repository}"
        default = {
            "ref": self.ref,
            "before": ZERO_SHA,
            "after": self.sha,
            "repository": {"id": 1, "name": name, "full_name": self.repository, "private": True, "default_branch": self.default_branch,
                           "html_url": url, "clone_url": url + ".git", "owner": {"login": owner, "id": 2}},
            "sender": {"login": self.actor, "id": 3},
            "head_commit": {"id": self.sha, "message": "change"},
        }
        return {**default, **self.payload}

    def github(self, workflow: str, path: str) -> dict[str, Any]:
        """The ``github`` context, without what the runner adds."""
        kind = "tag" if self.ref.startswith("refs/tags/") else "branch"
        short = self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/").removeprefix("refs/pull/")
        return {
            "ref": self.ref, "sha": self.sha, "repository": self.repository, "repository_owner": self.repository.split("/")[0],
            "repository_owner_id": "2", "repositoryUrl": f"git://{self.server_url.partition('://')[2]}/{self.repository}.git",
            "run_id": str(self.run_id), "run_number": str(self.run_number), "retention_days": "90", "run_attempt": "1",
            "artifact_cache_size_limit": "10", "repository_visibility": "private", "actor_id": "3", "actor": self.actor,
            "triggering_actor": self.actor, "workflow": workflow, "head_ref": self.head_ref, "base_ref": self.base_ref,
            "event_name": self.name, "event": self.body(), "server_url": self.server_url, "api_url": self.api_url,
            "graphql_url": self.api_url + "/graphql", "ref_name": short, "ref_protected": False, "ref_type": kind,
            "secret_source": "Actions", "repository_id": "1", "workflow_ref": f"{self.repository}/{path}@{self.ref}",
            "workflow_sha": self.sha,
        }


@dataclass
class Inputs:
    """Settings of the repository and results of earlier jobs."""

    secrets: dict[str, str] = field(default_factory=dict)
    vars: dict[str, str] = field(default_factory=dict)
    needs: dict[str, Any] = field(default_factory=dict)
    matrix: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    github_token: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    matrix_index: int = 0
