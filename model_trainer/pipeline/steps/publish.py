"""``publish``: the accepted model into the store, with its card; the latest there, or proposed."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from multitaskais.errors import ConfigError

from ..step import LIBRARIES, Conf, Files, Given, Input, ModelFolder, Settings, Step, Work
from .calibrate import NAME


class PublishSettings(Settings, frozen=True, kw_only=True):
    """Without this table nothing is published. ``store``: STORE_URL unless given; its keys come from the environment alone.

    ``rollout = "propose"`` puts the version into the store without making it the latest.
    """

    name: Annotated[str, Meta(pattern=NAME)]
    store: str | None = None
    rollout: Literal["latest", "propose"] = "latest"

    @property
    def url(self) -> str:
        """Raises ``ConfigError`` when none is known."""
        url = self.store or os.environ.get("MULTITASKAIS_STORE_URL") or os.environ.get("STORE_URL")
        if not url:
            raise ConfigError("publish.store: give the model store's folder or s3://BUCKET/PREFIX, or set STORE_URL")
        return url if "://" in url else os.path.abspath(url)


class Publish(Step):
    kind = "publish"
    after = ("evaluate", "accept")
    settings = PublishSettings
    libraries = (*LIBRARIES, "obstore")

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        settings = conf.tables[self.kind]
        parameters = {"store": settings.url, "rollout": settings.rollout}
        inputs: dict[str, Input] = {
            "model": ModelFolder(results["evaluate"] / "model"),
            "verdict": Files(results["accept"] / "verdict.json"),
        }
        return Given(parameters, inputs)

    def run(self, work: Work) -> None:
        from multitaskais.model.objects import StoreSettings
        from multitaskais.model.store import ModelStore, cache_folder

        p, model = work.parameters, work.path("model")
        store = ModelStore(StoreSettings.of(os.environ, p["store"]), cache_folder(os.environ))
        card = model / "card" / "card.md"
        reference = store.put(model, token=uuid.uuid4().hex, card=card.read_text() if card.is_file() else "")
        said = {"store": p["store"], "name": reference.name, "version": reference.version, "latest": False}
        if p["rollout"] == "latest":
            entry = store.publish(
                model, t=time.time(), by=socket.gethostname(), token=uuid.uuid4().hex, note="pipeline"
            )
            said |= {"latest": True, "entry": entry.number}
        (work.folder / "published.json").write_text(json.dumps(said, indent=1) + "\n")
        work.say(f"{reference} is {'the latest' if said['latest'] else 'proposed'} in {p['store']}")

    def is_there(self, folder: Path) -> bool:
        """Of a store in a folder, whether it has the version; another one is not asked."""
        said = json.loads((folder / "published.json").read_text())
        if "://" in said["store"]:
            return True
        return Path(said["store"], said["name"], "versions", said["version"], "manifest.json").is_file()
