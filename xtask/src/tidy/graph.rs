//! Which of our crates may use which: the table of the design, executed.

use super::Finding;
use crate::workspace::Workspace;

/// Each member, and the members that it may be built with. No arrow points up.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("session-core", &[]),
    ("session-file", &["session-core"]),
    ("session-db", &["session-core"]),
    ("session-cache", &["session-core"]),
    ("session-cached-db", &["session-core", "session-cache"]),
    ("session-http", &["session-core"]),
    (
        "session-cli",
        &[
            "session-core",
            "session-file",
            "session-db",
            "session-cache",
            "session-cached-db",
        ],
    ),
    (
        "django-and-axum",
        &["session-core", "session-file", "session-db", "session-http"],
    ),
    ("frameworks", &["session-http"]),
    (
        "mail",
        &[
            "session-core",
            "session-file",
            "session-db",
            "session-cache",
            "session-cached-db",
            "session-http",
        ],
    ),
    (
        "session-docs",
        &[
            "session-core",
            "session-db",
            "session-cache",
            "session-cached-db",
            "session-http",
        ],
    ),
    ("with-axum-login", &["session-http"]),
    ("xtask", &[]),
];

/// Members that nobody else is built or tested with.
const NOBODY_MAY_USE: [&str; 7] = [
    "session-cli",
    "django-and-axum",
    "frameworks",
    "mail",
    "session-docs",
    "with-axum-login",
    "xtask",
];

/// The crates below which no test may reach up, since publishing it would go in a circle.
const TESTED_ALONE: [&str; 1] = ["session-core"];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let members: Vec<&str> = workspace.packages.iter().map(|p| p.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        for dependency in &package.dependencies {
            if members.contains(&dependency.name.as_str())
                && let Some(message) = objection(&package.name, &dependency.name, dependency.is_dev)
            {
                findings.push(Finding::new(&manifest, 1, message));
            }
        }
        if !MAY_USE.iter().any(|(name, _)| *name == package.name) {
            let message = format!(
                "{} is new: say in xtask/src/tidy/graph.rs what it may use",
                package.name
            );
            findings.push(Finding::new(manifest, 1, message));
        }
    }
    findings
}

/// Why `user` may not use `used`, both members.
fn objection(user: &str, used: &str, is_dev: bool) -> Option<String> {
    let allowed = MAY_USE
        .iter()
        .find(|(name, _)| *name == user)
        .map_or(&[][..], |(_, allowed)| allowed);
    let is_fine = if NOBODY_MAY_USE.contains(&used) {
        false
    } else if is_dev {
        !TESTED_ALONE.contains(&user)
    } else {
        allowed.contains(&used)
    };
    (!is_fine).then(|| {
        let kind = if is_dev { "be tested with" } else { "use" };
        format!("{user} may not {kind} {used}: move the code to where it belongs, or change the design first")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_down_only() {
        for (user, used) in [
            ("session-core", "session-http"),
            ("session-file", "session-http"),
            ("session-file", "session-db"),
            ("session-db", "session-cache"),
            ("session-cached-db", "session-db"),
            ("session-http", "session-file"),
            ("session-http", "xtask"),
            ("xtask", "session-core"),
            ("session-new", "session-core"),
        ] {
            let objection = objection(user, used, false);
            assert!(objection.is_some(), "{user} may use {used}");
        }
        for (user, allowed) in MAY_USE {
            for used in allowed {
                assert_eq!(objection(user, used, false), None);
            }
        }
    }

    #[test]
    fn tests_may_use_other_crates_but_not_in_a_circle() {
        assert_eq!(objection("session-http", "session-file", true), None);
        assert!(objection("session-core", "session-file", true).is_some());
        assert!(objection("session-http", "mail", true).is_some());
    }
}
