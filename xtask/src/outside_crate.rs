//! Builds the crate that `docs/write-a-backend.md` tells a stranger to write, from the text itself, and runs its tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::workspace::Workspace;

/// The text, relative to the root.
pub(crate) const DOCUMENT: &str = "docs/write-a-backend.md";

/// Writes the crate into the target folder, and returns the command that tests it.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Command> {
    let text = fs::read_to_string(workspace.root.join(DOCUMENT))
        .map_err(|error| format!("{DOCUMENT} can't be read: {error}"))?;
    let mut files = files(&text)?;
    let Some(manifest) = files.get_mut(Path::new("Cargo.toml")) else {
        return Err(format!("{DOCUMENT} has no block marked ```toml,file=Cargo.toml```").into());
    };
    manifest.push_str(&patch(workspace, manifest));

    let folder = workspace.target.join("outside-crate");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for (path, content) in &files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        write(&path, content)?;
    }
    // The workspace's versions, so that nothing is fetched or built twice.
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;

    let mut command = workspace.cargo(["test", "--manifest-path"]);
    command
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &workspace.target);
    Ok(command)
}

/// The files that the text's code blocks are marked to be. A block that names a file again continues it.
fn files(text: &str) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let mut content = String::new();
        for line in lines.by_ref().take_while(|line| !line.starts_with("```")) {
            content.push_str(line);
            content.push('\n');
        }
        let Some(path) = info
            .split(',')
            .find_map(|word| word.trim().strip_prefix("file="))
        else {
            continue;
        };
        let path = PathBuf::from(path);
        let is_inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || path.as_os_str().is_empty() {
            return Err(format!("{DOCUMENT}: file={} is outside the crate", path.display()).into());
        }
        files
            .entry(path)
            .or_insert_with(String::new)
            .push_str(&content);
    }
    Ok(files)
}

/// Makes the crate a workspace of its own, which takes our crates from this checkout.
fn patch(workspace: &Workspace, manifest: &str) -> String {
    let mut patch = String::from("\n[workspace]\n\n[patch.crates-io]\n");
    let named = |name: &str| {
        manifest
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .any(|word| word == name)
    };
    for package in &workspace.packages {
        if package.is_library && named(&package.name) {
            let folder = workspace.root.join(&package.folder);
            patch.push_str(&format!("{} = {{ path = {folder:?} }}\n", package.name));
        }
    }
    patch
}

#[expect(
    clippy::disallowed_methods,
    reason = "the folder is made anew each time, so that half a file does no harm"
)]
fn write(path: &Path, content: &str) -> Result<()> {
    Ok(fs::write(path, content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_become_files_and_a_repeated_name_continues_one() {
        let text = "\
Text.

```toml,file=Cargo.toml
[package]
```

```rust
not_marked();
```

```rust,file=src/lib.rs
fn one() {}
```

More text.

```rust,file=src/lib.rs
fn two() {}
```
";
        let files = files(text).unwrap();
        let shown: Vec<_> = files
            .iter()
            .map(|(path, content)| (path.to_str().unwrap(), content.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("Cargo.toml", "[package]\n"),
                ("src/lib.rs", "fn one() {}\nfn two() {}\n"),
            ]
        );
    }

    #[test]
    fn a_block_can_not_write_outside_the_crate() {
        for path in ["../Cargo.toml", "/etc/passwd", "src/../../x", ""] {
            let text = format!("```rust,file={path}\n```\n");
            assert!(files(&text).is_err(), "file={path} was accepted");
        }
    }
}
