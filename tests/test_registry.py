"""The list of 99, what is built, and other people's feeds."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamer import registry
from streamer.errors import BadFeed, UnknownExchange
from tests.packages import Packages

ROOT = Path(registry.__file__).parent.parent


def test_the_list_has_99_exchanges_with_countries_and_a_judged_status() -> None:
    rows = [e for e in registry.listed() if e.countries]
    assert len(rows) == 99
    assert len({e.id for e in rows}) == 99
    for e in rows:
        assert len(e.iso) == len(e.countries)
        assert all(re.fullmatch("[A-Z]{2}", code) for code in e.iso)
        assert e.title
        assert e.status_reason
        assert re.fullmatch(r"20\d\d(-\d\d(-\d\d)?)?", e.status_date or "")
        url = urlsplit(e.docs)
        assert url.scheme == "https"
        assert url.query == ""


def test_countries_are_as_the_list_writes_them_and_as_iso_codes() -> None:
    by_id = {e.id: e for e in registry.listed()}
    assert (by_id["binance"].countries, by_id["binance"].iso) == (("Japan", "Malta"), ("JP", "MT"))
    assert (by_id["coinmate"].countries, by_id["coinmate"].iso) == (("Czech Republic", "EU", "UK"), ("CZ", "EU", "GB"))
    assert by_id["kraken"].countries == by_id["kraken"].iso == ("US",)


def test_dead_venues_are_closed_and_dropped_ones_only_unknown() -> None:
    status = {e.id: e.status for e in registry.listed()}
    assert {status[i] for i in ("ace", "bl3p", "coinlist", "coinmetro", "kuna", "lykke", "oceanex", "zonda")} == {"closed"}
    assert {status[i] for i in ("bitmex", "bitmart", "coinex", "okcoin", "yobit", "novadax")} == {"unknown"}
    assert {status[i] for i in ("binance", "bitbank", "btcalpha", "kraken", "okx")} == {"open"}


def run(code: str, cwd: Path = ROOT, path: Path = ROOT) -> str:
    """Run python code in a process of its own with `cwd` first on its path."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=cwd, env={"PYTHONPATH": str(path)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_listing_imports_no_feed() -> None:
    code = "import sys; from streamer import registry as r; r.listed(); r.built(); r.available();"
    assert run(code + "print([m for m in sys.modules if m.startswith(('feeds.', 'normalizers'))])") == "[]"


def test_built_names_every_module_of_feeds() -> None:
    modules = {p.stem for p in (ROOT / "feeds").glob("*.py")} - {"__init__"}
    assert set(registry.built()) == modules
    assert {"binance", "binanceus"} <= modules


@pytest.mark.parametrize("id", registry.built())
def test_every_built_feed_loads(id: str) -> None:
    feed = registry.load(id)
    assert feed.name == id
    assert registry.load(id) is feed
    assert set(registry.proof(feed)) == set(feed.book)


def test_an_unknown_exchange_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownExchange, match=r"unknown exchange 'binanec'; did you mean .*binance"):
        registry.load("binanec")
    with pytest.raises(UnknownExchange, match="streamer exchanges"):
        registry.load("qqqqqqqq")


def test_a_listed_exchange_without_feed_says_why() -> None:
    with pytest.raises(UnknownExchange, match=r"'lykke' is on the list but closed \(hacked and closed .*2024-06\); built: .*binance"):
        registry.load("lykke")
    unbuilt = next(e.id for e in registry.listed() if e.id not in registry.available() and e.status == "open")
    with pytest.raises(UnknownExchange, match=f"'{unbuilt}' is on the list but not built yet"):
        registry.load(unbuilt)


LOAD = "from streamer import registry, errors\ntry: registry.load('binance'); print('loaded')\nexcept errors.BadFeed as e: print(e)"


@pytest.mark.parametrize("name", ["feeds", "normalizers"])
@pytest.mark.parametrize("text", ["", "raise RuntimeError('I am not for import')", "OURS = 'something else'"])
def test_a_package_of_the_users_that_shadows_ours_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(text)
    said = run(LOAD, cwd=tmp_path)
    assert said == f"{tmp_path / name} shadows the package {name!r} of market-streamer; rename it, or start from another folder"


def test_a_module_of_the_users_that_shadows_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feeds.py").write_text("x = 1")
    assert run(LOAD, cwd=tmp_path).startswith(f"{tmp_path / 'feeds.py'} shadows the package 'feeds'")


def test_a_mere_folder_of_that_name_does_not_shadow(tmp_path: Path) -> None:
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / "notes.txt").write_text("mine")
    assert run(LOAD, cwd=tmp_path) == "loaded"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    return Packages(registry.GROUP, tmp_path, monkeypatch)


MINE = "from msgspec.structs import replace\nfrom feeds.binance import FEED as BINANCE\nFEED = replace(BINANCE, name={!r})\n"


def test_a_feed_of_an_entry_point_is_listed_unimported_and_loaded_by_name(packages: Packages) -> None:
    packages.install("their_feed", "moonbase = their_feed:FEED", MINE.format("moonbase"))
    assert registry.listed()[-1] == registry.Exchange("moonbase", "moonbase", status_reason="entry point of their_feed")
    assert "moonbase" in registry.available()
    assert "moonbase" not in registry.built()
    assert "their_feed" not in sys.modules
    assert registry.load("moonbase").name == "moonbase"


def test_an_entry_point_may_build_one_of_the_99(packages: Packages) -> None:
    packages.install("zonda_feed", "zonda = zonda_feed:FEED", MINE.format("zonda"))
    assert len(registry.listed()) == 99
    assert registry.load("zonda").name == "zonda"


def test_a_name_that_two_packages_claim_is_refused_and_no_other_is(packages: Packages) -> None:
    packages.install("thief", "binance = thief:FEED\nmars = thief:FEED", MINE.format("binance"))
    packages.install("marsians", "mars = marsians:FEED", MINE.format("mars"))
    with pytest.raises(BadFeed, match="'binance' is claimed by market-streamer and thief; uninstall or rename"):
        registry.load("binance")
    with pytest.raises(BadFeed, match=r"'mars' is claimed by (thief and marsians|marsians and thief)"):
        registry.load("mars")
    assert registry.load("binanceus").name == "binanceus"
    assert "thief" not in sys.modules


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", r"'lunar' = 'lunar_{n}:FEED' of lunar_{n} cannot be loaded: ZeroDivisionError"),
        ("", r"cannot be loaded: AttributeError"),
        ("FEED = {}", r"lunar: FEED is dict; it must be a streamer.spec.Feed"),
        (MINE.format("terra"), r"feed 'terra': name is 'terra' but it was loaded as 'lunar'"),
    ],
)
def test_a_broken_entry_point_is_told_in_one_line(packages: Packages, code: str, said: str, request: pytest.FixtureRequest) -> None:
    n = abs(hash(request.node.name))
    packages.install(f"lunar_{n}", f"lunar = lunar_{n}:FEED", code)
    with pytest.raises(BadFeed, match=said.format(n=n)):
        registry.load("lunar")
