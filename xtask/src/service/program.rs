//! Where programs are: on the PATH, or in folders that Debian keeps off it.

use std::path::{Path, PathBuf};

/// Where servers are for users whose PATH has no programs for the administrator.
const SERVERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// PostgreSQL's programs are in a folder `bin` of a folder for each version in this one.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The program `name`, with its folder.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SERVERS.map(PathBuf::from))
        .chain(versions(Path::new(POSTGRES_VERSIONS)))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// As [`find`], for a program that is known to be there. The bare name, if it has gone, fails with a message of its own.
pub(super) fn path(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| name.into())
}

/// The folders `bin` of all versions in `folder`, the newest first.
fn versions(folder: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<u32> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions
        .into_iter()
        .map(|version| folder.join(version.to_string()).join("bin"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn a_program_on_the_path_is_found_and_a_missing_one_is_not() {
        assert!(find("sh").is_some_and(|program| program.is_absolute()));
        assert_eq!(find("xtask-has-no-such-program"), None);
    }

    #[test]
    fn the_newest_version_comes_first() {
        let folder = Folder::new("test-versions").unwrap();
        for version in ["9", "17", "15", "common"] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
        }
        let expected = ["17/bin", "15/bin", "9/bin"].map(|bin| folder.path().join(bin));
        assert_eq!(versions(folder.path()), expected);
    }
}
