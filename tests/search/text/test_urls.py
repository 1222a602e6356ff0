"""No part of a password of a URL is shown, wherever one is given."""

from pathlib import Path

import pytest

from search.commands import cli
from search.samplers.optuna_files import Address
from search.study.prior_trials import PriorTrialError
from search.text.artifacts import ArtifactError, located
from search.text.urls import masked, masked_words

PASSWORDS = ("hidden", "hi@dden", "hi/dden", "hi?dden", "hi:dden", "h#idden@", "@/?:#dden", "1234")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        *(
            (f"postgresql://me:{p}@host:5432/x", "postgresql://me:***@host:5432/x")
            for p in PASSWORDS
        ),
        ("postgresql://me:hidden@x?a=hidden@host/x", "postgresql://me:***@host/x"),
        ("postgresql://host:5432/x?a=b@c", "postgresql://host:5432/x?a=b@c"),
        ("postgresql:/me:hidden@host/x", "postgresql:/me:***@host/x"),
        ("me:hi@dden@host/x", "me:***@host/x"),
        ("postgresql://host/x?password=hidden&a=1", "postgresql://host/x?password=***&a=1"),
        ("postgresql://host/x?sslpassword=hidden", "postgresql://host/x?sslpassword=***"),
        ("postgresql://me@host:5432/x", "postgresql://me@host:5432/x"),
        ("sqlite:////home/a:b@c/x.db", "sqlite:////home/a:b@c/x.db"),
        ("runs/artifacts", "runs/artifacts"),
    ],
)
def test_the_password_of_a_url_is_masked(url: str, shown: str) -> None:
    assert masked(url) == masked(masked(url)) == shown
    if "://" in url:
        assert masked_words(f"no store at {url} a@b") == f"no store at {shown} a@b"


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "words",
    [
        ["studies", "--store", "URL"],
        ["studies", "--store", "postgresql+asyncpg://me:PASSWORD@127.0.0.1:1/x"],
        ["studies", "--store", "postgresql://me:PASSWORD@127.0.0.1:port/x"],
        ["studies", "--store=URL?password=PASSWORD"],
        ["studies", "URL"],
        ["front", "URL"],
        ["show", "x", "URL"],
        ["URL"],
        ["run", "URL"],
        ["run", "s.toml", "--artifacts", "s3://me:PASSWORD@host/x"],
        ["run", "s.toml", "--ray", "URL"],
        ["import", "s.toml", "URL#study"],
        ["import", "s.toml", "mysql://me:PASSWORD@127.0.0.1:1/x"],
        ["export", "x", "--optuna", "URL#study"],
    ],
    ids=" ".join,
)
def test_no_command_prints_a_part_of_a_password(
    words: list[str],
    password: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(
        'name = "x"\nobjectives = ["accuracy"]\n[space]\nwidth = [4, 8]\n[budget]\nworkers = 1\n'
    )
    url = "postgresql://me:PASSWORD@127.0.0.1:1/x"
    given = [word.replace("URL", url).replace("PASSWORD", password) for word in words]
    assert cli.main(given) in (1, 2)
    out, err = capsys.readouterr()
    for part in ("idden", "dden", "1234"):
        assert part not in out + err.replace("hidden", "" if password == "1234" else "hidden"), err


def test_a_password_with_a_hash_is_refused_where_the_hash_begins_a_name() -> None:
    with pytest.raises(PriorTrialError, match=r"^postgresql://me:\*\*\*@host/x#y: must have %23"):
        Address.of("postgresql://me:hid#den@host/x#y")
    assert Address.of("sqlite:///x.db#me@home").study == "me@home"


@pytest.mark.parametrize("login", ["key", "key:hidden", "key:hid/den", "key:hid@den"])
def test_a_login_in_the_place_of_weights_is_refused_without_it(login: str) -> None:
    with pytest.raises(ArtifactError, match=r"^s3://\*\*\*@bucket/x: must not contain a user"):
        located(f"s3://{login}@bucket/x")
    assert located("hdfs://host:8020/a@b") == "hdfs://host:8020/a@b"
    assert located("s3://bucket/a@b") == "s3://bucket/a@b"
