//! Which cryptography is built in, that none of it is our own, and how maps are hashed.

use super::{File, Finding};

/// What members may name. Reviewed in docs/security.md.
const NAMED: [&str; 9] = [
    "chacha20poly1305",
    "ctutils",
    "getrandom",
    "hkdf",
    "hmac",
    "pbkdf2",
    "rustls",
    "sha1",
    "sha2",
];

/// What these, the drivers and the tests bring along.
const BROUGHT: [&str; 22] = [
    "aead",
    "chacha20",
    "cipher",
    "crypto-common",
    "digest",
    // For PostgreSQL's oldest way to check a password.
    "md-5",
    // Finds where the system keeps its certificates; nothing of OpenSSL is in it.
    "openssl-probe",
    "poly1305",
    "rand",
    "rand_chacha",
    "rand_core",
    "rand_xorshift",
    // Picks samples of a histogram, in the demo's page for Prometheus.
    "rand_xoshiro",
    "ring",
    "rustls-native-certs",
    "rustls-pki-types",
    "rustls-webpki",
    "subtle",
    "tokio-rustls",
    "universal-hash",
    "zeroize",
    "zeroize_derive",
];

/// What names of crates for cryptography, or their parts, begin with.
const CRYPTIC: [&str; 45] = [
    "aead",
    "aegis",
    "aes",
    "argon",
    "aws-lc",
    "bcrypt",
    "blake",
    "blowfish",
    "chacha",
    "cipher",
    "crypto",
    "ctutils",
    "curve25519",
    "dalek",
    "des",
    "digest",
    "ed25519",
    "getrandom",
    "ghash",
    "hkdf",
    "hmac",
    "jwt",
    "keccak",
    "md4",
    "md5",
    "md-5",
    "native-tls",
    "openssl",
    "orion",
    "pbkdf",
    "poly1305",
    "rand",
    "ring",
    "rsa",
    "rustls",
    "libsodium",
    "salsa",
    "scrypt",
    "sha1",
    "sha2",
    "sha3",
    "sodium",
    "subtle",
    "universal-hash",
    "zeroize",
];

fn is_cryptic(name: &str) -> bool {
    let words = name.split(['-', '_']);
    CRYPTIC
        .iter()
        .any(|part| name.starts_with(part) || words.clone().any(|word| word.starts_with(part)))
}

/// The first words of well-known primitives. Split, so that this file does not contain them.
const CONSTANTS: [(&str, &str); 5] = [
    ("SHA-256 or SHA-512", concat!("6a09", "e667")),
    ("SHA-256", concat!("428a", "2f98")),
    ("SHA-1 or MD5", concat!("6745", "2301")),
    ("ChaCha20", concat!("expand 32-", "byte k")),
    ("ChaCha20", concat!("6170", "7865")),
];

/// What a map is told to hash with that is not the standard library's keyed hash.
const HASHERS: [&str; 5] = [
    concat!("BuildHasher", "Default"),
    concat!("with_", "hasher("),
    concat!("Fx", "HashMap"),
    concat!("a", "hash::"),
    concat!("no", "hash"),
];

/// Where a map has a hasher of its own, and why a client can't choose what shares a bucket there.
const OWN_HASHERS: [(&str, &str); 1] = [(
    "session-core/src/memory.rs",
    "it is keyed by store keys, and only random ones that this program has drawn get in",
)];

/// Every crate for cryptography in the tree is one that was reviewed.
pub(super) fn dependencies(files: &[File]) -> Vec<Finding> {
    let names_in = |path: &'static str| {
        let file = files.iter().find(move |file| file.path == path);
        file.into_iter().flat_map(move |file| {
            file.lines().filter_map(move |(line, text)| {
                let (key, value) = text.split_once(" = ")?;
                Some((file, line, key, value.trim_matches('"')))
            })
        })
    };
    let mut findings = Vec::new();
    for (file, line, name, value) in names_in("Cargo.toml") {
        let is_dependency =
            value.starts_with('{') || value.starts_with(|c: char| c.is_ascii_digit());
        if is_dependency && is_cryptic(name) && ![&NAMED[..], &["zeroize"]].concat().contains(&name)
        {
            findings.push(file.finding(line, advice(name)));
        }
    }
    for (file, line, key, name) in names_in("Cargo.lock") {
        let is_known = NAMED.contains(&name) || BROUGHT.contains(&name);
        if key == "name" && is_cryptic(name) && !is_known {
            findings.push(file.finding(line, advice(name)));
        }
    }
    findings
}

fn advice(name: &str) -> String {
    format!(
        "{name} looks like cryptography: review it in docs/security.md and add it to xtask/src/tidy/crypto.rs, or keep it out"
    )
}

/// No source has a primitive of its own.
pub(super) fn primitives(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, text) in file.lines() {
        let text = text.to_lowercase().replace('_', "");
        for (what, constant) in CONSTANTS {
            if text.contains(constant) {
                let message = format!("this looks like {what}: use a crate that was reviewed");
                findings.push(file.finding(line, message));
            }
        }
    }
    findings
}

/// Maps in libraries are hashed with the standard library's keyed hash.
pub(super) fn hashers(file: &File) -> Vec<Finding> {
    let is_excused = OWN_HASHERS.iter().any(|(path, _why)| *path == file.path);
    if !file.is_rust() || !file.path.contains("/src/") || is_excused {
        return Vec::new();
    }
    file.lines()
        .filter(|(_, text)| HASHERS.iter().any(|hasher| text.contains(hasher)))
        .map(|(line, _)| {
            let advice = "a client may choose what is hashed here: keep the standard library's hasher, or say in xtask/src/tidy/crypto.rs why none can";
            file.finding(line, advice)
        })
        .collect()
}

/// The workspace forbids `unsafe`; that every member takes its lints is another check.
pub(super) fn unsafe_code(files: &[File]) -> Vec<Finding> {
    let root = files.iter().find(|file| file.path == "Cargo.toml");
    let forbids = root.is_some_and(|root| {
        let mut lines = root.text.lines();
        lines.any(|line| line == "[workspace.lints.rust]")
            && lines
                .take_while(|line| !line.starts_with('['))
                .any(|line| line.trim() == "unsafe_code = \"forbid\"")
    });
    if forbids {
        return Vec::new();
    }
    let advice = "write `unsafe_code = \"forbid\"` into [workspace.lints.rust]";
    vec![Finding::new("Cargo.toml", 1, advice)]
}

#[cfg(test)]
mod tests {
    use super::super::sample::{file, lines};
    use super::*;

    #[test]
    fn rest_15_proc_03_a_crate_for_cryptography_that_nobody_reviewed_is_found() {
        let manifest = "\
[workspace.dependencies]
sha2 = { version = \"0.11\" }
md-5 = \"0.11\"
aes-gcm = { version = \"0.11\" }
serde = \"1\"
description = \"ring\"
rust-crypto = { version = \"0.2\" }
";
        let lock = "\
[[package]]
name = \"sha2\"
version = \"0.11.1\"
[[package]]
name = \"libsodium-sys\"
[[package]]
name = \"md-5\"
[[package]]
name = \"deranged\"
";
        let found = dependencies(&[file("Cargo.toml", manifest), file("Cargo.lock", lock)]);
        assert_eq!(lines(&found), [3, 4, 7, 5], "{found:?}");
        let lock = lock.replace("libsodium-sys", "sodium-sys");
        let found = dependencies(&[file("Cargo.lock", &lock)]);
        assert_eq!(lines(&found), [5], "{found:?}");
    }

    #[test]
    fn rest_15_a_primitive_of_our_own_is_found() {
        let words = concat!("const H: [u32; 2] = [0x6A09_", "E667, 0xBB67_AE85];\n");
        let found = primitives(&file("a/src/lib.rs", words));
        assert_eq!(lines(&found), [1]);
        assert!(primitives(&file("a/src/lib.rs", "use sha2::Sha256;\n")).is_empty());
    }

    #[test]
    fn data_07_a_map_with_a_hasher_that_has_no_key_is_found() {
        let code = "use std::collections::HashMap;\nstruct A(HashMap<u8, u8>);\n";
        assert!(hashers(&file("a/src/lib.rs", code)).is_empty());
        for hasher in HASHERS {
            let code = format!("{code}type B = {hasher};\n");
            assert_eq!(lines(&hashers(&file("a/src/lib.rs", &code))), [3]);
            assert!(hashers(&file("a/tests/b.rs", &code)).is_empty());
            assert!(hashers(&file(OWN_HASHERS[0].0, &code)).is_empty());
        }
    }

    #[test]
    fn proc_02_a_workspace_that_permits_unsafe_code_is_found() {
        let good = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
        assert!(unsafe_code(&[file("Cargo.toml", good)]).is_empty());
        for bad in [
            "",
            &good.replace("forbid", "deny"),
            &good.replace("[workspace.lints.rust]", "[lints.rust]"),
            "[workspace.lints.rust]\n[workspace.lints.clippy]\nunsafe_code = \"forbid\"\n",
        ] {
            assert_eq!(
                lines(&unsafe_code(&[file("Cargo.toml", bad)])),
                [1],
                "{bad}"
            );
        }
    }
}
