//! The scripts: one for each operation that reads and writes, so that it is one step.

use std::sync::LazyLock;

use sha1::{Digest as _, Sha1};

use redis::Cmd;

/// A script, and the hash by which a server knows it once it has run.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    hash: String,
}

macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("lua/", $file, ".lua")), "\n"),+)));
    };
}

script!(LEASE, "slot", "lease");
script!(FILL, "slot", "put", "fill");
script!(PUT_NEWER, "slot", "put", "put_newer");
script!(INVALIDATE, "slot", "owner", "invalidate");
script!(BURY, "slot", "bury");
script!(ADD, "slot", "put", "owner", "add");
script!(
    COMPARE_AND_SWAP,
    "slot",
    "owner",
    "change",
    "compare_and_swap"
);
script!(EXPIRE, "slot", "owner", "expire");
script!(ROTATE, "slot", "owner", "change", "rotate");
script!(END, "slot", "end");
script!(INDEX, "owner", "index");
#[cfg(feature = "django")]
script!(DJANGO_LOAD, "django", "django_load");
#[cfg(feature = "django")]
script!(DJANGO_CREATE, "django", "django_create");
#[cfg(feature = "django")]
script!(DJANGO_CHANGE, "django", "django_change");
#[cfg(feature = "django")]
script!(DJANGO_TOUCH, "django", "django_touch");

impl Script {
    fn new(text: &str) -> Self {
        // Comments are for readers, and the server keeps the text.
        let lines = text.lines().map(str::trim);
        let source: String = lines
            .filter(|line| !line.is_empty() && !line.starts_with("--"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let hash = sha1_hex(source.as_bytes());
        Self { source, hash }
    }

    /// The script on these keys, by its hash.
    pub(super) fn by_hash(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        command("EVALSHA", &self.hash, keys, arguments)
    }

    /// The same with its text, for a server that does not know it yet, and from then on does.
    pub(super) fn in_full(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        command("EVAL", &self.source, keys, arguments)
    }
}

/// Digits of how many keys a script is given.
const KEY_COUNT_LEN_MAX: usize = 1;

fn command(name: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
    let texts = [name.len(), script.len(), KEY_COUNT_LEN_MAX];
    let texts = texts.into_iter();
    let texts = texts.chain(keys.iter().map(|key| key.len()));
    let texts = texts.chain(arguments.iter().map(|argument| argument.len()));
    let mut command = Cmd::with_capacity(3 + keys.len() + arguments.len(), texts.sum());
    command.arg(name).arg(script).arg(keys.len());
    for key in keys {
        command.arg(*key);
    }
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

/// SHA-1 in lower-case hexadecimal, as Redis names scripts by and as its scripts can compute. Nothing depends on its strength.
pub(super) fn sha1_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(bytes) {
        // A `String` takes everything.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_redis_computes() {
        // printf 'return 1\n' | sha1sum
        let script = Script::new("-- a comment\n\n  return 1");
        assert_eq!(script.source, "return 1\n");
        assert_eq!(script.hash, "48df9b519ca145c867b895f740b37bd891e887af");
    }

    #[test]
    fn scripts_hold_no_line_that_only_looks_like_a_comment() {
        for script in [&COMPARE_AND_SWAP, &ROTATE, &INVALIDATE, &END] {
            assert!(
                script.source.contains("local function read"),
                "the head is missing"
            );
            assert!(
                !script.source.contains("[["),
                "a long string may hold lines that begin with --"
            );
        }
    }
}
