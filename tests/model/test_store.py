"""Laws of the model store, in a folder and on a real S3 server."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
from collections import Counter
from pathlib import Path

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.cli import main
from multitaskais.errors import ConfigError, ModelNotFound, StoreError, StoreUnavailable
from multitaskais.model import folder
from multitaskais.model.ledger import LedgerEntry, standing_versions
from multitaskais.model.objects import FILE_MAX_BYTES, ObjectStore, StoreSettings
from multitaskais.model.reference import Reference
from multitaskais.model.store import ModelStore, local_folder
from tests.support import s3proxy

HOW = {"t": 1.0, "by": "a", "token": "0123456789abcdef"}


def version_of(model: Path) -> str:
    return folder.read_manifest(model)["version"]


def key(name: str, version: str, file: str) -> str:
    return f"{name}/versions/{version}/{file}"


# ---------------------------------------------------------------- publish, latest, withdraw


def test_what_was_published_comes_out_equal_and_loads(store, make_model):
    entry = store.publish(make_model(0), **HOW)
    there = store.fetch(Reference("small"))
    assert entry.version == version_of(make_model(0)) == folder.load(there).version
    for file in folder.read_manifest(make_model(0))["files"]:
        assert (there / file).read_bytes() == (make_model(0) / file).read_bytes()
    assert store.latest("small") == entry
    assert store.latest_number("small") == 1
    assert store.names() == ["small"]


def test_publishing_the_latest_again_adds_nothing_and_an_older_one_makes_it_the_latest(store, make_model):
    a, b = (version_of(make_model(k)) for k in (0, 1))
    assert [store.publish(make_model(k), **HOW).number for k in (0, 0, 1, 1, 0)] == [1, 1, 2, 2, 3]
    assert [e.version for e in store.ledger("small")] == [a, b, a]


def test_the_latest_is_by_number_whatever_the_publishers_clocks_say(store, make_model):
    store.publish(make_model(0), t=4e9, by="in 2096", token="a1")
    assert store.publish(make_model(1), t=0.0, by="in 1970", token="a2") == store.latest("small")


def test_withdraw_makes_the_former_version_the_latest_and_never_one_that_was_withdrawn(store, make_model):
    a, b, c = (version_of(make_model(k)) for k in (0, 1, 2))
    for k in (0, 1, 2):
        store.publish(make_model(k), **HOW)
    taken = store.withdraw("small", note="too loud", **HOW)
    assert (taken.number, taken.version, taken.withdrawn, taken.action) == (4, b, c, "withdraw")
    assert store.withdraw("small", **HOW).version == a
    with pytest.raises(StoreError, match="no former version"):
        store.withdraw("small", **HOW)
    assert store.fetch(Reference("small", c)).is_dir()  # what is withdrawn can still be asked for by its version


def test_prune_keeps_what_the_last_entries_name_and_the_ledger(store, make_model):
    for k in range(4):
        store.publish(make_model(k), **HOW)
    assert store.prune("small", keep=2) == sorted(version_of(make_model(k)) for k in (0, 1))
    assert len(store.ledger("small")) == 4
    assert store.fetch(Reference("small")).name == version_of(make_model(3))
    with pytest.raises(ModelNotFound, match="no version"):
        store.fetch(Reference("small", version_of(make_model(0))))
    store.withdraw("small", **HOW)
    with pytest.raises(StoreError, match="pruned"):
        store.withdraw("small", **HOW)
    store.publish(make_model(0), **HOW)  # a pruned version may come back
    assert store.fetch(Reference("small")).name == version_of(make_model(0))


def test_a_publication_that_fails_at_any_file_leaves_no_version_and_no_entry_and_may_be_tried_again(
    store, make_model, monkeypatch
):
    version = version_of(make_model(0))
    create = ObjectStore.create
    for file in folder.read_manifest(make_model(0))["files"]:

        def failing(self, where, content, file=file):
            if where == key("small", version, file):
                raise StoreUnavailable("away")
            return create(self, where, content)

        with monkeypatch.context() as patched:
            patched.setattr(ObjectStore, "create", failing)
            with pytest.raises(StoreUnavailable, match="away"):
                store.publish(make_model(0), **HOW)
        assert not store._objects.exists(key("small", version, "manifest.json"))
        assert store.latest_number("small") == 0
    assert store.publish(make_model(0), **HOW).number == 1
    assert folder.load(store.fetch(Reference("small"))).version == version


def counted(asked, name, work):
    def counting(*args, **more):
        asked[name] += 1
        return work(*args, **more)

    return counting


def test_a_model_goes_in_and_out_with_one_request_a_file_and_four_for_its_ledger_and_manifest(
    store, make_model, monkeypatch
):
    store.publish(make_model(0), **HOW)
    version, asked = version_of(make_model(1)), Counter()
    files = len(folder.read_manifest(make_model(1))["files"])
    for name in ("put", "get", "head", "delete", "list", "list_with_delimiter"):
        monkeypatch.setattr(obstore, name, counted(asked, name, getattr(obstore, name)))
    store.publish(make_model(1), **HOW)
    assert asked == {"put": files + 2, "list": 1, "get": 1}
    asked.clear()
    store.fetch(Reference("small", version))
    assert asked == {"get": files + 1}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3))))
def test_what_stands_is_the_stack_of_what_was_published_and_not_withdrawn(steps):
    stack: list[str] = []
    entries: list[LedgerEntry] = []
    for publish, k in steps:
        if publish:
            version = f"m-{k:012x}"
            stack = [v for v in stack if v != version] + [version]
            entries.append(LedgerEntry(version=version))
        elif len(stack) > 1:
            bad = stack.pop()
            entries.append(LedgerEntry(version=stack[-1], action="withdraw", withdrawn=bad))
        assert standing_versions(entries) == stack


# ---------------------------------------------------------------- two publishers


def _publish_in_step(settings, models, cache, barrier, queue):
    store, got = ModelStore(settings, cache), []
    for i, model in enumerate(models):
        barrier.wait()
        got.append(store.publish(model, t=float(i), by="one of two", token=f"{os.getpid():08x}{i:08x}").number)
    queue.put(got)


def test_two_publishers_in_step_leave_a_ledger_without_hole_or_double(settings, make_model, tmp_path):
    n = 8
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    models = [[make_model(10 + 2 * i + who) for i in range(n)] for who in (0, 1)]
    processes = [
        context.Process(target=_publish_in_step, args=(settings, models[w], tmp_path / f"cache{w}", barrier, queue))
        for w in (0, 1)
    ]
    for p in processes:
        p.start()
    numbers = sorted(queue.get(timeout=60) + queue.get(timeout=60))
    for p in processes:
        p.join()
    assert numbers == list(range(1, 2 * n + 1))
    store = ModelStore(settings, tmp_path / "cache")
    entries = store.ledger("small")
    assert sorted(e.version for e in entries) == sorted(version_of(m) for of in models for m in of)
    assert store.fetch(Reference("small")).name == entries[-1].version


def test_a_store_that_overwrites_is_refused_before_the_first_write_unless_one_process_alone_publishes(
    make_model, tmp_path
):
    if (reason := s3proxy.missing()) is not None:
        pytest.skip(reason)
    with s3proxy.S3Proxy(tmp_path / "server", open_to_all=True) as server, s3proxy.DropsIfNoneMatch(server.port) as shim:  # fmt: skip
        store = ModelStore(server.settings(endpoint=shim.endpoint), tmp_path / "cache")
        with pytest.raises(StoreError, match="STORE_TRUST=single-writer"):
            store.publish(make_model(0), **HOW)
        assert store.names() == []
        trusting = ModelStore(server.settings(endpoint=shim.endpoint, trust="single-writer"), tmp_path / "cache")
        assert trusting.publish(make_model(0), **HOW).number == 1
        honest = ModelStore(server.settings("other"), tmp_path / "cache")
        assert honest.publish(make_model(0), **HOW).number == 1


# ---------------------------------------------------------------- a poisoned store


def overwrite(store: ModelStore, where: str, content: bytes) -> None:
    obstore.put(store._objects._store, where, content, mode="overwrite")


def poison_manifest(store: ModelStore, of: str, **changes) -> None:
    where = key("small", of, "manifest.json")
    manifest = json.loads(bytes(obstore.get(store._objects._store, where).bytes()))
    manifest.update(changes)
    overwrite(store, where, json.dumps(manifest).encode())


EVIL_NAMES = ["../../evil", "/etc/evil", "a/../../evil", "a//evil", "./evil", "a/b/c/d/e/evil", ".hidden", "a\\..\\evil", "C:evil", "evil\n", "manifest.json", "x" * 101]  # fmt: skip


@pytest.fixture
def published(store, make_model) -> tuple[ModelStore, str]:
    return store, store.publish(make_model(0), **HOW).version


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_file_name_that_could_lead_out_is_refused_before_anything_is_written(published, name):
    store, version = published
    poison_manifest(store, version, files={name: hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(StoreError, match="may not be"):
        store.fetch(Reference("small"))
    assert not list(store.cache.rglob("*evil*"))
    assert not [p for p in store.cache.iterdir() if p.is_file() or any(p.iterdir())]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "other"}, "its manifest is of"),
        ({"version": "small-000000000000"}, "its manifest is of"),
        ({"files": {"usual.npz": "12"}}, "no sha256"),
        ({"files": ["usual.npz"]}, "cannot be read"),
        ({"files": {}}, "not what its name says"),
        ({"made_from": {"k": 99}}, "not what its name says"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(published, changes, said):
    store, version = published
    poison_manifest(store, version, **changes)
    with pytest.raises(StoreError, match=said):
        store.fetch(Reference("small"))
    assert not (store.cache / version).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff" * 9, b" " * (1 << 21)])
def test_a_manifest_or_an_entry_that_is_no_json_of_ours_is_one_line(published, content):
    store, version = published
    overwrite(store, key("small", version, "manifest.json"), content)
    with pytest.raises(StoreError) as e:
        store.fetch(Reference("small", version))
    assert "\n" not in str(e.value)
    overwrite(store, "small/ledger/000000001.json", content)
    with pytest.raises(StoreError) as e:
        store.latest("small")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("how", ["truncated", "changed", "missing"])
def test_a_file_that_is_not_whole_is_refused_and_the_version_fetched_before_goes_on(store, make_model, how):
    store.publish(make_model(0), **HOW)
    old = store.fetch(Reference("small"))
    version = store.publish(make_model(1), **HOW).version
    where = key("small", version, "usual.npz")
    content = bytes(obstore.get(store._objects._store, where).bytes())
    if how == "missing":
        obstore.delete(store._objects._store, where)
    else:
        overwrite(store, where, content[:-7] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match="missing" if how == "missing" else "checksum"):
        store.fetch(Reference("small"))
    assert not (store.cache / version).exists()
    assert folder.load(store.fetch(Reference("small", old.name))).version == old.name


def test_a_file_beyond_the_limit_is_not_read(published, monkeypatch):
    store, version = published
    monkeypatch.setattr("multitaskais.model.objects.FILE_MAX_BYTES", 1000)
    with pytest.raises(StoreError, match="at most 1,000 are read"):
        store.fetch(Reference("small", version))
    assert FILE_MAX_BYTES < 10 << 30


def test_files_that_are_too_large_together_are_not_read_however_many_are_fetched_at_a_time(published, monkeypatch):
    store, version = published
    together = sum((f.stat().st_size) for f in store.fetch(Reference("small")).rglob("*") if f.name != "manifest.json" and f.is_file())  # fmt: skip
    shutil.rmtree(store.cache)
    monkeypatch.setattr("multitaskais.model.store.MODEL_MAX_BYTES", together - 1)
    with pytest.raises(StoreError, match=f"more than {together - 1:,} bytes"):
        store.fetch(Reference("small", version))
    assert list(store.cache.iterdir()) == []
    monkeypatch.setattr("multitaskais.model.store.MODEL_MAX_BYTES", together)
    assert store.fetch(Reference("small", version)).is_dir()


def test_a_full_disk_of_the_reader_is_no_fault_of_the_version(published, monkeypatch):
    store, version = published

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "copy", full)
        with pytest.raises(StoreUnavailable, match="make room"):
            store.fetch(Reference("small", version))
    assert not [p for p in store.cache.iterdir() if p.name.startswith(f".{version}")]
    assert store.fetch(Reference("small", version)).is_dir()


@pytest.mark.parametrize(
    ("file", "said"),
    [("000000003.json", "entry 2 .* missing"), ("latest.json", "no entry"), ("0000000002.json", "no entry")],
)
def test_a_ledger_with_a_hole_or_a_strange_name_is_refused(published, file, said):
    store, version = published
    overwrite(store, f"small/ledger/{file}", json.dumps({"version": version}).encode())
    for ask in (store.latest, store.ledger, store.latest_number):
        with pytest.raises(StoreError, match=said):
            ask("small")


@pytest.mark.parametrize("version", ["../../etc", "other-0123456789ab", "small", "small-0123456789AB", ""])
def test_an_entry_that_names_no_version_of_its_model_is_refused(published, version):
    store, _ = published
    overwrite(store, "small/ledger/000000002.json", json.dumps({"version": version}).encode())
    with pytest.raises(StoreError, match="no version of it"):
        store.latest("small")


def test_other_bytes_under_a_version_that_is_published_are_found_by_the_publisher(published, make_model):
    store, version = published
    overwrite(store, key("small", version, "usual.npz"), b"other")
    with pytest.raises(StoreError, match="other content"):
        store.publish(make_model(0), **HOW)


@pytest.mark.parametrize("where", ["small", "small/ledger", "small/versions/VERSION", "small/versions/VERSION/usual.npz"])  # fmt: skip
def test_a_symbolic_link_in_a_folder_store_is_refused(tmp_path, make_model, where):
    store = ModelStore(StoreSettings(str(tmp_path / "store")), tmp_path / "cache")
    version = store.publish(make_model(0), **HOW).version
    at = tmp_path / "store" / where.replace("VERSION", version)
    at.rename(tmp_path / "elsewhere")
    at.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        store.fetch(Reference("small"))


def test_a_damaged_copy_in_the_cache_is_fetched_again(published):
    store, version = published
    there = store.fetch(Reference("small"))
    (there / "usual.npz").write_bytes(b"damaged")
    assert folder.load(store.fetch(Reference("small"))).version == version


# ---------------------------------------------------------------- away, refused


def test_a_store_that_is_away_is_told_from_one_that_refuses_the_key(s3, tmp_path):
    nobody = StoreSettings("s3://models", f"http://127.0.0.1:{s3proxy.free_port()}", key="k", secret="s", timeout_s=2)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        ModelStore(nobody, tmp_path).latest("small")
    with pytest.raises(StoreError, match="STORE_SECRET") as e:
        ModelStore(s3.settings(secret="wrong"), tmp_path).latest("small")
    assert not isinstance(e.value, StoreUnavailable)
    with pytest.raises(StoreError, match="make it first"):
        ModelStore(StoreSettings("s3://absent", s3.endpoint, "", s3proxy.KEY, s3proxy.SECRET), tmp_path).latest("small")
    assert "wrong" not in repr(s3.settings(secret="wrong"))


# ---------------------------------------------------------------- checkpoints


def test_of_the_checkpoints_of_a_training_the_newest_is_found_until_they_are_removed(store):
    training = "0123456789abcdef"
    assert store.newest_checkpoint(training) is None
    assert [store.put_checkpoint(training, b"%d" % k) for k in range(5)] == [1, 2, 3, 4, 5]
    assert store.newest_checkpoint(training) == b"4"
    assert len(store._objects.keys(f"training/{training}")) == 2
    store.remove_checkpoints(training)
    assert store.newest_checkpoint(training) is None
    with pytest.raises(StoreError, match="no key"):
        store.put_checkpoint("../../etc", b"")


# ---------------------------------------------------------------- names and commands


@pytest.mark.parametrize("text", ["store:", "store:Gulf", "store:gulf@", "store:gulf@latest", "store:../x", "store:a@../../b-0123456789ab", "gulf@gulf-f8f5badedae"])  # fmt: skip
def test_a_reference_that_names_no_model_is_one_line(text):
    with pytest.raises(ConfigError, match="NAME@VERSION"):
        Reference.parse(text)


def test_a_reference_goes_to_text_and_back():
    for text in ("store:gulf", "store:gulf@gulf-f8f5badedaed"):
        assert str(Reference.parse(text)) == text


def test_a_command_takes_a_model_of_the_store_by_name_and_by_version(tmp_path, make_model):
    env = {"STORE_URL": str(tmp_path / "store"), "STORE_CACHE": str(tmp_path / "cache")}
    store = ModelStore(StoreSettings.of(env), tmp_path / "cache")
    first = store.publish(make_model(0), **HOW).version
    second = store.publish(make_model(1), **HOW).version
    assert Path(local_folder("store:small", env)).name == second
    assert Path(local_folder(f"store:small@{first}", env)).name == first
    assert local_folder("gulf", env) == "gulf"


def test_push_list_pull_withdraw_and_prune_from_the_command_line(tmp_path, make_model, capsys, monkeypatch):
    monkeypatch.setenv("STORE_URL", str(tmp_path / "store"))
    monkeypatch.setenv("STORE_CACHE", str(tmp_path / "cache"))
    a = tmp_path / "a"
    shutil.copytree(make_model(0), a)
    (a / "card").mkdir()
    (a / "card" / "card.md").write_text("# A card\n")
    assert main(["store", "push", str(a), "--note", "June"]) == 0
    assert main(["store", "push", str(make_model(1))]) == 0
    assert main(["store", "push", str(make_model(1)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["number"] == 2
    assert main(["store", "list", "small"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [version_of(a), version_of(make_model(1))]  # fmt: skip
    assert main(["store", "withdraw", "small"]) == 0
    assert main(["store", "pull", "small", "--to", str(tmp_path / "pulled")]) == 0
    assert version_of(tmp_path / "pulled") == version_of(a)
    assert (tmp_path / "pulled" / "card" / "card.md").read_text() == "# A card\n"
    assert main(["store", "pull", "small", "--to", str(tmp_path / "pulled")]) == 2
    assert main(["store", "prune", "small", "--keep", "1"]) == 0
    assert "1 versions" in capsys.readouterr().out
    assert main(["store", "list", "absent"]) == 2


def test_a_store_that_does_not_answer_asks_to_be_tried_again(capsys, monkeypatch):
    monkeypatch.setenv("STORE_URL", "s3://models")
    monkeypatch.setenv("STORE_KEY", "k")
    monkeypatch.setenv("STORE_SECRET", "s")
    monkeypatch.setenv("STORE_ENDPOINT", f"http://127.0.0.1:{s3proxy.free_port()}")
    assert main(["store", "list"]) == 75
    assert "try again" in capsys.readouterr().err
