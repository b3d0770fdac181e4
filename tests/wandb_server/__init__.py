"""A W&B server on loopback for the real client: GraphQL, the file stream, files; and the ways in which it fails.

    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url); monkeypatch.setenv("WANDB_API_KEY", server.key)

It was written after what the client (0.31) sends.  Every operation is validated against `schema.graphql`, so that a
client that asks for what W&B's schema lacks is refused, as there.
"""

from tests.wandb_server.http import WandbServer, serving

__all__ = ["WandbServer", "serving"]
