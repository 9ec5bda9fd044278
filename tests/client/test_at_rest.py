"""What lies in a site's folder while rounds are run: nothing in clear that the site key is there for."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

import numpy as np
import pytest
from at_rest import found_in, open_to_others, pieces
from federations import catalogue_of
from hospitals import SECRETS, CountedTask, Hospitals
from typer.testing import CliRunner

from wardround_client.catalogue import CATALOGUE_FILE, Catalogue
from wardround_client.ingest.reasons import Rejected
from wardround_client.ingest.store import REJECTS_FILE, load_rejects, save_rejects
from wardround_client.main import app
from wardround_client.sealing import SiteKey
from wardround_client.shelf import Shelf
from wardround_client.site import Site
from wardround_common.canonical import digest
from wardround_common.errors import StorageError
from wardround_common.messages import Signer
from wardround_common.secagg.ring import WORDS, to_bytes
from wardround_common.trust import plan_digest, sign_plan

SITE = "birch"
KEY = SECRETS.site_key(SITE)
TWICE = {"rounds": 2}
REJECT = Rejected(path="Miller^Anna/1975-03-02.dcm", tag="", code="file.damaged")


class KeepingTask(CountedTask):
    """Keeps something at the site between the rounds."""

    def train_round(self, plan, *, site, **rest):
        output = super().train_round(plan, site=site, **rest)
        kept = np.random.default_rng([self.rounds, *site.encode()]).normal(size=64).astype(np.float32)
        return type(output)(update_P=output.update_P, noisy_steps=output.noisy_steps, local_L=kept)


@pytest.fixture
def hospitals(tmp_path, monkeypatch):
    monkeypatch.setattr("hospitals.CountedTask", KeepingTask)
    before = os.umask(0)
    made = Hospitals(tmp_path / "sites", **TWICE)
    store = made.home / SITE / "plans" / plan_digest(made.plan).hex() / "data"
    sealer = KEY.data(plan_digest(made.plan))
    catalogue_of(SITE).save(store / CATALOGUE_FILE, sealer)
    save_rejects(store, [REJECT], sealer=sealer)
    yield made
    made.close()
    os.umask(before)


def secrets_of(hospitals, number):
    """Everything of a running round that the site's own parts give out when they have the key."""
    site, plan = hospitals.sites[SITE], plan_digest(hospitals.plan)
    scratch, study = site._parts.scratch, site._studies[plan]
    output = scratch.output(plan, number, "train", word=WORDS[32])
    state = scratch.state(plan, study._record.state() or b"")
    catalogue = catalogue_of(SITE)
    found = {
        "site key": KEY.secret,
        "round secret": SECRETS.round_secret(SITE, plan, number, "train"),
        "output": bytes(to_bytes(output.words_P)),
        "what the task keeps": output.local_L.tobytes(),
        "key of the vault": scratch.vault(plan).key,
        "image": catalogue.images_NCHW[0].tobytes(),
        "last image": catalogue.images_NCHW[-1].tobytes(),
        "scan key": catalogue.sop_N[0],
        "path": REJECT.path.encode(),
    }
    assert scratch.secret(plan, number, "train", make=bytes) == found["round secret"]
    if state is not None:
        found["state"] = state.tobytes()
    if (begun := study._record.begun()) and study._record.sent(begun.context):
        with suppress(StorageError):  # erased: their attempt is over
            for dealer, shares in study._record.held(begun.context).items():
                found[f"key share of {dealer}"] = shares.mask_key
                found[f"seed share of {dealer}"] = shares.seed
    return found


def test_nothing_lies_in_clear_in_a_sites_folder_and_nothing_is_open_to_others(hospitals):
    seen = set()
    for number in (1, 2):
        play = hospitals.session(number)
        for reply in ("hello", "deal", "masked", "confirm", "open", "accept"):
            play.until(reply)
            secrets = secrets_of(hospitals, number)
            seen |= set(secrets)
            assert list(found_in(hospitals.home / SITE, pieces(secrets))) == []
            assert open_to_others(hospitals.home / SITE) == []
        play.close()
    assert {"state", "output", "round secret", "what the task keeps", "image"} < seen
    assert {f"{kind} share of {dealer}" for kind in ("key", "seed") for dealer in ("alder", "cedar")} < seen


def test_the_search_finds_every_one_of_them_where_it_is_planted(hospitals, tmp_path):
    play = hospitals.session(1)
    play.until("masked")
    secrets = secrets_of(hospitals, 1)
    assert len(secrets) >= 15
    for name, data in secrets.items():
        for planted in (data, data.hex().encode()):
            copy = tmp_path / "copy"
            shutil.copytree(hospitals.home / SITE, copy)
            path = copy / "scratch" / "scratch.sqlite"
            content = path.read_bytes()
            path.write_bytes(content[:5000] + planted + content[5000:])
            found = set(found_in(copy, pieces(secrets)))
            assert ("scratch/scratch.sqlite", name) in found
            shutil.rmtree(copy)


def test_the_search_finds_what_a_site_without_sealing_writes(hospitals, monkeypatch):
    def in_clear(self, parts, *place):
        yield b"".join(bytes(part) for part in parts)

    monkeypatch.setattr("wardround_client.sealing.Sealer.sealed", in_clear)
    monkeypatch.setattr(
        "wardround_client.sealing.Sealer.opened", lambda self, file, *place: iter([file.read()])
    )
    bare = Hospitals(hospitals.home.parent / "bare", **TWICE)
    catalogue_of(SITE).save(bare.home / SITE / CATALOGUE_FILE, KEY.data(b""))
    save_rejects(bare.home / SITE, [REJECT], sealer=KEY.data(b""))
    play = bare.session(1)
    play.until("masked")
    masked = secrets_of(bare, 1)
    found = {name for _, name in found_in(bare.home / SITE, pieces(masked))}
    play.until("accept")
    secrets = masked | secrets_of(bare, 1)
    found |= {name for _, name in found_in(bare.home / SITE, pieces(secrets))}
    assert found == set(secrets) - {"site key"}
    bare.close()


def test_a_site_opens_nothing_under_another_key(hospitals):
    hospitals.session(1).until("masked")
    home = hospitals.home / SITE
    hospitals.sites[SITE].close()
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(StorageError) as caught:
        Site(home, signer=Signer(SITE, SECRETS.key(SITE)), key=SiteKey.new())
    assert caught.value.code == "storage.other_key"
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    hospitals.sites[SITE] = hospitals._open(SITE)


def test_catalogue_and_rejects_cannot_take_each_others_place(hospitals):
    sealer = KEY.data(plan_digest(hospitals.plan))
    store = hospitals.home / SITE / "plans" / plan_digest(hospitals.plan).hex() / "data"
    assert Catalogue.load(store / CATALOGUE_FILE, sealer).snapshot == catalogue_of(SITE).snapshot
    assert REJECT.path in load_rejects(store, sealer=sealer)
    (store / CATALOGUE_FILE).rename(store / "aside")
    (store / REJECTS_FILE).rename(store / CATALOGUE_FILE)
    (store / "aside").rename(store / REJECTS_FILE)
    with pytest.raises(StorageError) as caught:
        load_rejects(store, sealer=sealer)
    assert caught.value.code == "storage.altered"
    with pytest.raises(StorageError) as caught:
        Catalogue.load(store / CATALOGUE_FILE, sealer)
    assert caught.value.code == "catalogue.altered"


def test_the_shares_of_one_attempt_are_not_those_of_another_site_or_study(hospitals):
    plan = plan_digest(hospitals.plan)
    keys = {hospitals.sites[name]._parts.scratch.vault(plan).key for name in hospitals.names}
    keys.add(hospitals.sites[SITE]._parts.scratch.vault(digest("another plan")).key)
    assert len(keys) == len(hospitals.names) + 1


def test_the_rejects_of_a_plan_are_printed_at_its_site(hospitals):
    plan, home = hospitals.plan, hospitals.home / SITE
    Shelf(home).add(sign_plan(plan, SECRETS.key("lead")))
    (home / "site.toml").write_text(f'name = "{SITE}"\nhost = "coordinator.example"\nport = 8443\n')
    command = ["data", "rejects", str(home), plan_digest(plan).hex()[:8]]
    asked = CliRunner().invoke(app, command)
    assert (asked.exception.code, asked.output) == ("site_key.missing", "")
    (home / "site.key").write_bytes(KEY.secret)
    (home / "site.key").chmod(0o600)
    assert CliRunner().invoke(app, command).output.splitlines() == [
        "path,tag,code,reason",
        f"{REJECT.path},,{REJECT.code},{REJECT.reason}",
    ]
