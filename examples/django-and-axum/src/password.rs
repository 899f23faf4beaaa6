//! Whether a password is the one that Django has stored, as its default hasher stores it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ctutils::CtEq as _;
use pbkdf2::{Algorithm, Params, pbkdf2_hmac_with_params};

/// What nobody's password is, with as many rounds as Django 5.2 has.
pub(crate) const NOBODY: &str =
    "pbkdf2_sha256$1000000$nobody$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// More rounds than any release of Django asks for: a row in a table must not keep a thread busy for hours.
const ROUNDS_MAX: u32 = 10_000_000;

/// Compares `password` with `stored`, which is `pbkdf2_sha256$ROUNDS$SALT$HASH`. Takes as long as a log-in on Django.
pub(crate) fn is_right(password: &str, stored: &str) -> bool {
    let mut parts = stored.split('$');
    let (Some("pbkdf2_sha256"), Some(rounds), Some(salt), Some(hash), None) = (
        parts.next(),
        parts.next().and_then(|rounds| rounds.parse().ok()),
        parts.next(),
        parts
            .next()
            .and_then(|hash| BASE64_STANDARD.decode(hash).ok()),
        parts.next(),
    ) else {
        return false;
    };
    let Ok(params) = Params::new(rounds) else {
        return false;
    };
    if rounds > ROUNDS_MAX {
        return false;
    }
    let mut expected = [0; 32];
    let (password, salt) = (password.as_bytes(), salt.as_bytes());
    pbkdf2_hmac_with_params(
        password,
        salt,
        Algorithm::Pbkdf2Sha256,
        params,
        &mut expected,
    );
    expected.as_slice().ct_eq(hash.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use super::is_right;

    /// What Django's `make_password("pass €", "salt")` gives with 1000 rounds.
    const STORED: &str = "pbkdf2_sha256$1000$salt$4j2phaucsfxlweH5wmnADf84Y2AMesPCWnu33wtTrTc=";

    #[test]
    fn a_password_that_django_stored_is_known_again_and_no_other() {
        assert!(is_right("pass €", STORED));
        for wrong in ["pass", "", "pass € "] {
            assert!(!is_right(wrong, STORED), "{wrong:?} let somebody in");
        }
    }

    #[test]
    fn nobody_gets_in_with_what_no_password_was_stored_as() {
        for stored in [
            "",
            "!unusable",
            "pbkdf2_sha256$0$salt$",
            "pbkdf2_sha256$1$salt$",
            "pbkdf2_sha256$99999999999$salt$AAAA",
            "pbkdf2_sha256$4000000000$salt$AAAA",
            "md5$1$salt$AAAA",
            "pbkdf2_sha256$1$salt$AAAA$more",
        ] {
            assert!(!is_right("", stored), "{stored:?} let somebody in");
        }
    }
}
