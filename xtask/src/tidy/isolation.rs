//! What a crate must not compile, however indirectly: users pay only for what they pick.

use super::Finding;
use crate::Result;
use crate::workspace::Workspace;

/// Each member, and what must not be in its tree with all its features. A name also stands for those that add a dash and
/// a word: `sqlx` for `sqlx-core`.
const BANNED: [(&str, &[&str]); 6] = [
    (
        "session-core",
        &[
            "http", "hyper", "cookie", "tower", "axum", "actix", "sqlx", "redis",
        ],
    ),
    (
        "session-file",
        &[
            "http", "hyper", "cookie", "tower", "axum", "actix", "sqlx", "redis",
        ],
    ),
    (
        "session-db",
        &["http", "hyper", "cookie", "tower", "axum", "actix", "redis"],
    ),
    (
        "session-cache",
        &["http", "hyper", "cookie", "tower", "axum", "actix", "sqlx"],
    ),
    (
        "session-cached-db",
        &[
            "http", "hyper", "cookie", "tower", "axum", "actix", "sqlx", "redis",
        ],
    ),
    ("session-http", &["hyper", "sqlx", "redis"]),
];

/// Asks cargo for each crate's tree, as a user's build would see it.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, banned) in BANNED {
        let package = workspace.package(name)?;
        let output = workspace
            .cargo(["tree", "--package", name, "--all-features"])
            .args(["--edges=normal", "--prefix=none", "--format={p}"])
            .output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(format!("cargo tree failed for {name}:\n{message}").into());
        }
        let tree = String::from_utf8_lossy(&output.stdout);
        for found in intruders(&tree, banned) {
            let message = format!(
                "{name} compiles {found}, which it must not know; \
                 `cargo tree -p {name} --all-features -e normal -i {found}` shows why"
            );
            findings.push(Finding::new(
                format!("{}/Cargo.toml", package.folder),
                1,
                message,
            ));
        }
    }
    Ok(findings)
}

/// The packages in a tree, one to a line as `name version`, that are banned.
fn intruders(tree: &str, banned: &[&str]) -> Vec<String> {
    let is_banned = |name: &str| {
        banned.iter().any(|of| {
            name.strip_prefix(of)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let mut found: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| is_banned(name))
        .map(str::to_owned)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_package_is_found_wherever_it_is_in_the_tree() {
        let tree = "session-file v0.1.0 (/x)\nfs2 v0.4.3\nhttp-body v1.0.0\nhttp v1.5.0\nhttp v1.5.0 (*)\nhttparse v1.0.0\n";
        assert_eq!(intruders(tree, &["http", "sqlx"]), ["http", "http-body"]);
        assert!(intruders(tree, &["redis"]).is_empty());
    }
}
