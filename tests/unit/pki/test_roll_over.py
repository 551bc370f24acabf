"""The next root: devices that know the one before go on, and so do those that know only the new one."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from flownexus_appliance.errors import UsageError
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.roots import MAX_TRUSTED, OVERLAP

from .house import DAY, ENDPOINT, NAMES, NOW, YEAR, contents, ensured, loaded, parse
from .verify import NO_ISSUER, accepted, openssl_error

HOST = "flownexus.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pki"


@pytest.fixture
def authority(folder: Path) -> Authority:
    return ensured(folder)


def chains(authority: Authority) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What the DTLS server and the HTTPS server send."""
    https = x509.load_pem_x509_certificates(authority.https_files().chain.read_bytes())
    der = tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in https)
    return authority.dtls_chain().certificates, der


def assert_served(roots: tuple[bytes, ...], authority: Authority, now: datetime) -> None:
    """Whoever knows one of these roots, and nothing else, accepts both servers."""
    for root in roots:
        for chain in chains(authority):
            assert openssl_error([root], chain, now, "-verify_hostname", HOST) == 0
            assert accepted([root], chain, now, HOST)


def test_devices_of_both_roots_are_served(authority: Authority) -> None:
    (old,) = authority.roots()
    changes = authority.roll_over(NOW)
    new, kept = authority.roots()
    assert kept == old
    assert authority.newest_root == new
    assert [change.kind for change in changes] == ["root", "root", "dtls", "https"]
    assert [len(chain) for chain in chains(authority)] == [2, 2]
    assert_served((old, new), authority, NOW)


def test_the_cross_certificate_is_what_carries_the_old_ones(authority: Authority) -> None:
    """The negative control: without it, who knows only the old root refuses, and the new one's do not."""
    (old,) = authority.roots()
    authority.roll_over(NOW)
    leaf = authority.dtls_chain().certificates[:1]
    assert openssl_error([old], leaf, NOW) == NO_ISSUER
    assert not accepted([old], leaf, NOW, HOST)
    assert openssl_error([authority.newest_root], leaf, NOW) == 0


def test_the_cross_certificate_is_the_new_roots_signed_by_the_old_one(authority: Authority) -> None:
    old = parse(authority.newest_root)
    authority.roll_over(NOW + DAY)
    cross, new = parse(authority.dtls_chain().certificates[1]), parse(authority.newest_root)
    cross.verify_directly_issued_by(old)
    assert (cross.subject, cross.public_key()) == (new.subject, new.public_key())
    assert cross.issuer == old.subject != new.subject
    assert cross.serial_number != new.serial_number
    assert cross.not_valid_after_utc == old.not_valid_after_utc < new.not_valid_after_utc
    identifier = cross.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert identifier == x509.AuthorityKeyIdentifier.from_issuer_public_key(old.public_key())  # type: ignore[arg-type]
    constraints = cross.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, None)


def test_the_old_roots_key_is_gone_and_the_new_one_signs(authority: Authority, folder: Path) -> None:
    authority.roll_over(NOW)
    assert sorted(contents(folder)) == [
        "dtls-2.crt", "dtls-2.key", "https-2.crt", "https-2.key", "index.json",
        "root-1.crt", "root-2-cross.crt", "root-2.crt", "root-2.key",
    ]  # fmt: skip
    made = parse(authority.issue(ENDPOINT, NOW).certificate)
    made.verify_directly_issued_by(parse(authority.newest_root))


def test_what_was_rolled_over_is_there_after_a_restart(authority: Authority, folder: Path) -> None:
    authority.roll_over(NOW)
    again = loaded(folder)
    assert again.roots() == authority.roots()
    assert again.dtls_chain() == authority.dtls_chain()
    assert again.describe(NOW) == authority.describe(NOW)
    assert again.ensure(NAMES, NOW + 59 * DAY) == ()


def test_certificates_of_both_roots_are_accepted_until_the_overlap_ends(authority: Authority) -> None:
    before = authority.issue(ENDPOINT, NOW, 19 * YEAR).certificate
    authority.roll_over(NOW, 100 * DAY)
    after = authority.issue(ENDPOINT, NOW).certificate
    for device in (before, after):
        assert openssl_error(authority.roots(), [device], NOW, purpose="sslclient") == 0
    end = NOW.replace(microsecond=0) + 100 * DAY
    assert authority.accepted_until(before) == end
    assert authority.accepted_until(after) == (NOW + 2 * YEAR).replace(microsecond=0)
    assert authority.ensure(NAMES, end - timedelta(seconds=1))[0].kind == "dtls"  # only the leafs
    assert len(authority.roots()) == 2
    dropped, *_ = authority.ensure(NAMES, end)
    assert "because its overlap with the next root has ended" in dropped.message
    assert authority.accepted_until(before) is None
    assert openssl_error(authority.roots(), [before], end, purpose="sslclient") == NO_ISSUER
    assert authority.accepted_until(after) is not None


def test_after_the_overlap_chains_are_short_again(authority: Authority, folder: Path) -> None:
    authority.roll_over(NOW, 10 * DAY)
    changes = authority.ensure(NAMES, NOW + 10 * DAY)
    assert [change.kind for change in changes] == ["root", "dtls", "https"]
    assert "the roots that devices may know have changed" in changes[1].message
    assert [len(chain) for chain in chains(authority)] == [1, 1]
    assert "root-1.crt" not in contents(folder)
    assert "root-2-cross.crt" not in contents(folder)
    assert_served(authority.roots(), authority, NOW + 10 * DAY)


def test_the_operator_may_end_the_overlap_at_once(authority: Authority, folder: Path) -> None:
    (old,) = authority.roots()
    authority.roll_over(NOW)
    changes = authority.finish_roll_over(NOW)
    assert "because the operator ended the overlap" in changes[0].message
    assert authority.roots() == (authority.newest_root,)
    assert old not in authority.roots()
    assert [len(chain) for chain in chains(authority)] == [1, 1]
    assert_served(authority.roots(), authority, NOW)
    assert openssl_error([old], authority.dtls_chain().certificates, NOW) == NO_ISSUER
    assert loaded(folder).roots() == authority.roots()
    with pytest.raises(UsageError) as caught:
        authority.finish_roll_over(NOW)
    assert caught.value.code == "roll_over_none"


def test_two_roll_overs_within_an_overlap(authority: Authority) -> None:
    """The way from the first root leads through the second one, which is trusted for as long at least."""
    (first,) = authority.roots()
    authority.roll_over(NOW, 300 * DAY)
    second = authority.newest_root
    authority.roll_over(NOW + DAY, 10 * DAY)
    assert authority.roots() == (authority.newest_root, second, first)
    assert [len(chain) for chain in chains(authority)] == [3, 3]
    assert_served(authority.roots(), authority, NOW + DAY)
    authority.ensure(NAMES, NOW + 299 * DAY)
    assert_served((first, second), authority, NOW + 299 * DAY)
    authority.ensure(NAMES, NOW + 300 * DAY)
    assert authority.roots() == (authority.newest_root,)


def test_the_older_of_two_may_end_first(authority: Authority, folder: Path) -> None:
    (first,) = authority.roots()
    authority.roll_over(NOW, 10 * DAY)
    second = authority.newest_root
    authority.roll_over(NOW + DAY, 300 * DAY)
    authority.ensure(NAMES, NOW + 10 * DAY)
    assert authority.roots() == (authority.newest_root, second)
    assert first not in loaded(folder).roots()
    assert [len(chain) for chain in chains(authority)] == [2, 2]
    assert_served(authority.roots(), authority, NOW + 10 * DAY)


def test_a_fourth_root_waits_or_ends_the_overlap(authority: Authority, folder: Path) -> None:
    for _ in range(MAX_TRUSTED - 1):
        authority.roll_over(NOW)
    before = contents(folder)
    with pytest.raises(UsageError) as caught:
        authority.roll_over(NOW + DAY)
    assert caught.value.code == "roll_over_limit"
    assert f"{NOW + OVERLAP:%Y-%m-%d}" in caught.value.message
    assert contents(folder) == before
    authority.finish_roll_over(NOW + DAY)
    authority.roll_over(NOW + DAY)
    assert len(authority.roots()) == 2


def test_the_longest_chain_fits_a_modem(authority: Authority) -> None:
    """nRF91 takes 4 kB; half of it leaves room for names that are longer than these."""
    assert len(authority.dtls_chain().certificates[0]) < 600
    assert len(authority.newest_root) < 450
    for _ in range(MAX_TRUSTED - 1):
        authority.roll_over(NOW)
    chain = authority.dtls_chain().certificates
    assert len(chain) == MAX_TRUSTED
    assert sum(map(len, chain)) < 1600
    assert all(len(cross) < 480 for cross in chain[1:])


@pytest.mark.parametrize("overlap", [timedelta(0), -DAY, 21 * YEAR])
def test_an_overlap_that_is_none_is_refused(authority: Authority, overlap: timedelta) -> None:
    with pytest.raises(UsageError) as caught:
        authority.roll_over(NOW, overlap)
    assert caught.value.code == "overlap_invalid"
    assert len(authority.roots()) == 1


def test_a_root_is_rolled_over_three_years_before_its_end_by_itself(authority: Authority) -> None:
    (old,) = authority.roots()
    step = parse(old).not_valid_after_utc - 3 * YEAR
    assert [c.kind for c in authority.ensure(NAMES, step - timedelta(seconds=1))] == ["dtls", "https"]
    first, _, leaf, _ = authority.ensure(NAMES, step)
    assert "because the end of the one before came near" in first.message
    assert "because there is a newer root" in leaf.message
    assert authority.roots()[1:] == (old,)
    assert_served(authority.roots(), authority, step)
    # A device's certificate of the day before is not cut short.
    assert parse(old).not_valid_after_utc >= step + OVERLAP
    assert_served(authority.roots(), authority, step + 30 * DAY)
    authority.ensure(NAMES, step + OVERLAP)
    assert old not in authority.roots()


def test_an_overlap_ends_with_the_old_root_itself(authority: Authority) -> None:
    end = parse(authority.newest_root).not_valid_after_utc
    device = authority.issue(ENDPOINT, NOW, 20 * YEAR).certificate
    authority.roll_over(NOW + 15 * YEAR, 20 * YEAR)
    assert authority.describe(NOW)[1].trusted_until == end
    assert authority.accepted_until(device) == parse(device).not_valid_after_utc
    authority.ensure(NAMES, end)
    assert len(authority.roots()) == 1


def test_an_overlap_that_has_ended_does_not_count_at_the_next_roll_over(authority: Authority) -> None:
    authority.roll_over(NOW, 10 * DAY)
    second = authority.newest_root
    dropped, *_ = authority.roll_over(NOW + 10 * DAY)
    assert "because its overlap with the next root has ended" in dropped.message
    assert authority.roots() == (authority.newest_root, second)
    assert_served(authority.roots(), authority, NOW + 10 * DAY)


def test_a_root_made_by_a_clock_that_ran_ahead_is_rolled_over_like_others(tmp_path: Path) -> None:
    authority = ensured(tmp_path / "pki", NOW + 10 * YEAR)
    authority.roll_over(NOW)
    new, old = (parse(der) for der in authority.roots())
    assert new.not_valid_after_utc < old.not_valid_after_utc
    cross = parse(authority.dtls_chain().certificates[1])
    assert cross.not_valid_after_utc == new.not_valid_after_utc
    assert_served(authority.roots(), authority, NOW)


def test_a_root_that_ended_while_the_box_was_off_stands_for_nothing(authority: Authority) -> None:
    (old,) = authority.roots()
    late = parse(old).not_valid_after_utc
    made, dropped, *_ = authority.ensure(NAMES, late)
    assert "The new root FlowNexus root 2" in made.message
    assert "because it had ended before a next one was made" in dropped.message
    assert old not in authority.roots()
    assert [len(chain) for chain in chains(authority)] == [1, 1]
    assert_served(authority.roots(), authority, late)


def test_a_full_house_waits_with_its_own_roll_over(authority: Authority) -> None:
    for _ in range(MAX_TRUSTED - 1):
        authority.roll_over(NOW, 20 * YEAR)
    roots = authority.roots()
    near = NOW + 19 * YEAR
    assert {change.kind for change in authority.ensure(NAMES, near)} == {"dtls", "https"}
    assert authority.roots() == roots
    assert_served(roots, authority, near)
    authority.ensure(NAMES, NOW + 20 * YEAR)
    assert parse(authority.newest_root).subject != parse(roots[0]).subject


def test_no_leaf_outlives_its_root(authority: Authority) -> None:
    for _ in range(MAX_TRUSTED - 1):
        authority.roll_over(NOW, 20 * YEAR)
    end = parse(authority.newest_root).not_valid_after_utc
    authority.ensure(NAMES, end - 10 * DAY)
    assert parse(authority.dtls_chain().certificates[0]).not_valid_after_utc == end


def test_a_stranger_is_not_accepted_by_its_words(authority: Authority, tmp_path: Path) -> None:
    """A foreign authority may give a root the same name, but not sign by the same key."""
    foreign = ensured(tmp_path / "foreign").issue(ENDPOINT, NOW).certificate
    assert authority.accepted_until(foreign) is None
    for nonsense in (b"", b"no certificate", foreign[:-1], foreign[:100]):
        assert authority.accepted_until(nonsense) is None
