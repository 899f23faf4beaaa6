//! What settings are called, and what a misspelled one was perhaps meant to be.

use super::Advice;

/// Every setting by its name in a file. In the environment it is in capitals, behind a prefix.
pub(super) const ALL: [&str; 29] = [
    "cookie_name",
    "cookie_path",
    "cookie_domain",
    "cookie_secure",
    "cookie_http_only",
    "cookie_same_site",
    "cookie_partitioned",
    "insecure_plain_http",
    "application",
    "idle_timeout",
    "absolute_timeout",
    "anonymous_idle_timeout",
    "renew_after",
    "renewal",
    "reissue",
    "expire_at_browser_close",
    "not_before",
    "sessions_per_owner_max",
    "new_anonymous_per_minute_max",
    "data_bytes_max",
    "names_max",
    "name_bytes_max",
    "candidates_max",
    "store_timeout",
    "commit_timeout",
    "digest_keys_file",
    "digest_keys",
    "sealing_keys_file",
    "sealing_keys",
];

/// Other names by which the same is known, and the name here: most are Django's.
pub(super) const ALIASES: [(&str, &str); 4] = [
    ("cookie_age", "idle_timeout"),
    ("cookie_httponly", "cookie_http_only"),
    ("cookie_samesite", "cookie_same_site"),
    ("save_every_request", "renewal"),
];

/// How far a name may be from a setting's and still be taken for a slip of the pen.
const SLIPS_MAX: usize = 2;

/// The name under which a setting is known here, if it is one.
pub(super) fn canonical(name: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| name);
    let name = ALL.iter().find(|known| **known == name)?;
    // Both say where the same keys are.
    Some(name.strip_suffix("_file").unwrap_or(name))
}

/// Which secret is given by this name, and not the file that holds it.
pub(super) fn secret(name: &str) -> Option<&'static str> {
    let mut names = ["digest_keys", "sealing_keys"].into_iter();
    names.find(|secret| *secret == name)
}

/// Whether a variable is a setting, or was meant to be one: another program's begin with the same word now and then, such as those
/// that Kubernetes makes for a service that is called `session`.
pub(super) fn is_meant(variable: &str, prefix: &str) -> bool {
    variable.strip_prefix(prefix).is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        canonical(&name).is_some() || name.starts_with("cookie_") || similar(&name).is_some()
    })
}

pub(super) fn unknown(name: &str) -> Advice {
    Advice::Unknown(similar(name))
}

/// The setting that was meant by a name that is none, if one comes close.
fn similar(name: &str) -> Option<&'static str> {
    let names = || ALL.into_iter().chain(ALIASES.map(|(alias, _)| alias));
    let closest = names().min_by_key(|known| slips(known, name));
    closest
        .filter(|known| slips(known, name) <= SLIPS_MAX)
        // `idle_timeout_secs`.
        .or_else(|| {
            names().find(|known| {
                name.strip_prefix(known)
                    .is_some_and(|rest| rest.starts_with('_'))
            })
        })
}

/// How many letters have to be put in, left out or changed to make one word of the other (Levenshtein's distance).
fn slips(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    // Row by row: what it takes to make each beginning of the other word.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().enumerate() {
        let (mut left, mut diagonal) = (above + 1, above);
        let mut next = vec![left];
        for (over, wanted) in row.iter().skip(1).zip(other) {
            let changed = diagonal + usize::from(letter != *wanted);
            left = changed.min(left + 1).min(over + 1);
            diagonal = *over;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_programs_variable() {
        for (name, meant) in [
            ("absolute_timout", Some("absolute_timeout")),
            ("idel_timeout", Some("idle_timeout")),
            ("idle_timeout_secs", Some("idle_timeout")),
            ("sealing_key", Some("sealing_keys")),
            ("cookie_secur", Some("cookie_secure")),
            ("manager", None),
            ("service_host", None),
            ("port", None),
            ("url", None),
            ("", None),
        ] {
            assert_eq!(similar(name), meant, "{name}");
        }
        assert_eq!(slips("", "abc"), 3);
        assert_eq!(slips("kitten", "sitting"), 3);
    }

    #[test]
    fn every_name_is_a_setting_of_its_own() {
        for name in ALL {
            let canonical = canonical(name).unwrap();
            assert!(
                name.starts_with(canonical),
                "{name} is taken for {canonical}"
            );
        }
        for (alias, name) in ALIASES {
            assert_eq!(canonical(alias), canonical(name), "{alias}");
        }
    }

    #[test]
    fn the_page_lists_every_setting_and_its_variable() {
        let page = include_str!("../../docs/settings.md");
        for name in ALL.into_iter().chain(ALIASES.map(|(alias, _)| alias)) {
            let variable = format!("`SESSION_{}`", name.to_ascii_uppercase());
            assert!(page.contains(&variable), "{variable} is not documented");
            // A secret has no place in a file of settings.
            let in_file = page.contains(&format!("`{name}`"));
            assert_eq!(in_file, secret(name).is_none(), "{name}");
        }
    }
}
