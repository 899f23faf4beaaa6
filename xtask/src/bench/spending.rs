//! Whose instructions they are: sorts what callgrind counted by the crate that the code comes from.

/// Who spends instructions, in the order of the table.
pub(super) const SPENDERS: [&str; 17] = [
    "session-http",
    "session-core",
    "the memory store",
    "the handler",
    JSON,
    "hashing, without SHA-256 itself",
    "random numbers",
    "the clock",
    "memory, allocated and freed",
    "bytes, copied, compared and searched",
    "maps of the standard library",
    "pointers, vectors and locks",
    "the types of `http`",
    "axum and tower",
    "actix-web",
    "tokio",
    "other",
];

const OTHER: &str = "other";
const ALLOCATOR: &str = "memory, allocated and freed";
const BYTES: &str = "bytes, copied, compared and searched";
const CLOCK: &str = "the clock";
const JSON: &str = "JSON, and numbers as text";
const MAPS: &str = "maps of the standard library";
const POINTERS: &str = "pointers, vectors and locks";

/// Crates by the beginnings of their names, as they are written in paths.
const CRATES: [(&str, &str); 32] = [
    ("session-http", "session-http"),
    ("session-core", "session-core"),
    ("serde", JSON),
    ("itoa", JSON),
    ("ryu", JSON),
    ("zmij", JSON),
    ("sha2", "hashing, without SHA-256 itself"),
    ("digest", "hashing, without SHA-256 itself"),
    ("hmac", "hashing, without SHA-256 itself"),
    ("block-buffer", "hashing, without SHA-256 itself"),
    ("hybrid-array", "hashing, without SHA-256 itself"),
    ("cpufeatures", "hashing, without SHA-256 itself"),
    ("getrandom", "random numbers"),
    ("rand", "random numbers"),
    ("chacha20", "random numbers"),
    ("memchr", BYTES),
    ("zeroize", BYTES),
    ("triomphe", POINTERS),
    ("http", "the types of `http`"),
    ("bytes", "the types of `http`"),
    ("axum", "axum and tower"),
    ("tower", "axum and tower"),
    ("matchit", "axum and tower"),
    ("futures", "axum and tower"),
    ("pin-project", "axum and tower"),
    ("sync_wrapper", "axum and tower"),
    ("percent-encoding", "axum and tower"),
    ("hyper", "axum and tower"),
    ("actix", "actix-web"),
    ("tokio", "tokio"),
    ("harness", "the handler"),
    ("in-process", "the handler"),
];

/// Where an instruction stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The file of the line, which may have been inlined into the function.
    pub(super) line: &'a str,
    /// The file that the function itself is in.
    pub(super) function: &'a str,
    pub(super) symbol: &'a str,
}

/// Whose instruction that is. Code of the standard library is that of the crate whose function it became a part of, or whose
/// types it is about.
pub(super) fn whose(place: Place<'_>) -> &'static str {
    let Place {
        line,
        function,
        symbol,
    } = place;
    of_the_system(line, symbol)
        .or_else(|| of_a_crate(line))
        .or_else(|| of_a_crate(function))
        .or_else(|| of_a_symbol(symbol))
        .or_else(|| of_the_standard_library(symbol))
        .unwrap_or(OTHER)
}

/// What every program gets from the C library and from Rust's allocator.
fn of_the_system(line: &str, symbol: &str) -> Option<&'static str> {
    const OF_THE_ALLOCATOR: [&str; 4] = ["__rustc::", "__rdl_", "__rust_", "malloc"];
    const OF_BYTES: [&str; 3] = ["__mem", "__str", "bcmp"];
    let is_any = |parts: &[&str]| parts.iter().any(|part| symbol.starts_with(part));
    if line.contains("/malloc/") || is_any(&OF_THE_ALLOCATOR) {
        Some(ALLOCATOR)
    } else if is_any(&OF_BYTES) {
        Some(BYTES)
    } else if symbol.contains("clock_gettime")
        || ["time::Timespec", "time::SystemTime"]
            .iter()
            .any(|part| symbol.contains(part))
    {
        Some(CLOCK)
    } else {
        None
    }
}

fn of_a_crate(path: &str) -> Option<&'static str> {
    if path.contains("session-core/src/memory") {
        return Some("the memory store");
    }
    if path.contains("/benchmarks/") {
        return Some("the handler");
    }
    let (_, registry) = path.split_once("/registry/src/").unwrap_or_default();
    let (_, package) = registry.split_once('/').unwrap_or_default();
    if !package.is_empty() {
        return Some(spender(package).unwrap_or(OTHER));
    }
    path.split('/').find_map(|part| {
        let is_ours = ["session-http", "session-core"].contains(&part);
        is_ours.then(|| spender(part)).flatten()
    })
}

/// The first crate that is named in it: what a generic function is about.
fn of_a_symbol(symbol: &str) -> Option<&'static str> {
    let mut names = symbol.split("::").filter_map(|part| {
        let start = part.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let name = part.get(start.map_or(0, |at| at + 1)..)?;
        Some(name.replace('_', "-"))
    });
    if symbol.contains("session_core::memory") {
        return Some("the memory store");
    }
    names.find_map(|name| spender(&name))
}

/// What nobody else can be named for: generic code that is no part of another function.
fn of_the_standard_library(symbol: &str) -> Option<&'static str> {
    const OF_MAPS: [&str; 3] = ["hashbrown::", "btree::", "core::hash::"];
    const OF_POINTERS: [&str; 4] = [
        "alloc::sync::",
        "alloc::vec::",
        "alloc::raw_vec::",
        "::once",
    ];
    let is_any = |parts: &[&str]| parts.iter().any(|part| symbol.contains(part));
    if is_any(&OF_MAPS) {
        Some(MAPS)
    } else if is_any(&OF_POINTERS) {
        Some(POINTERS)
    } else {
        None
    }
}

fn spender(name: &str) -> Option<&'static str> {
    let known = CRATES.iter().find(|(crate_name, _)| {
        let rest = name.strip_prefix(crate_name);
        rest.is_some_and(|rest| {
            rest.is_empty()
                || rest.starts_with(['-', '_', '/', '.'])
                || rest.starts_with(|c: char| c.is_ascii_digit())
        })
    });
    known.map(|(_, spender)| *spender)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STD: &str = "/rustc/0123abcd/library/core/src/option.rs";
    const CORE: &str = "/s/session-core/src/load.rs";

    fn of(line: &str, function: &str, symbol: &str) -> &'static str {
        whose(Place {
            line,
            function,
            symbol,
        })
    }

    #[test]
    fn code_belongs_to_the_crate_of_its_line() {
        let http = "/c/registry/src/index.example-1/http-1.3.1/src/header/map.rs";
        let axum = "/c/registry/src/index.example-1/axum-core-0.5.2/src/body.rs";
        for (line, expected) in [
            (CORE, "session-core"),
            ("/s/session-core/src/memory.rs", "the memory store"),
            ("/s/session-http/src/tower/service.rs", "session-http"),
            (
                "/s/benchmarks/in-process/src/../../apps/ours.rs",
                "the handler",
            ),
            (http, "the types of `http`"),
            (axum, "axum and tower"),
        ] {
            assert_eq!(
                of(line, CORE, "session_core::load::load"),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn the_standard_librarys_code_belongs_to_whom_it_serves() {
        assert_eq!(of(STD, CORE, "session_core::load::load"), "session-core");
        for (symbol, expected) in [
            (
                "core::ptr::drop_in_place<session_core::state::Locked>",
                "session-core",
            ),
            (
                "core::ptr::drop_in_place<tower::util::oneshot::State<A>>",
                "axum and tower",
            ),
            (
                "<alloc::vec::Vec<http::header::Name> as core::ops::drop::Drop>::drop",
                "the types of `http`",
            ),
            ("<std::sys::pal::unix::time::Timespec>::now", "the clock"),
            ("<std::time::SystemTime>::duration_since", CLOCK),
            ("hashbrown::raw::RawTable<T,A>::reserve_rehash", MAPS),
            ("alloc::sync::Arc<T,A>::drop_slow", POINTERS),
            ("<u64>::_fmt", OTHER),
        ] {
            assert_eq!(of(STD, STD, symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn the_c_librarys_code_is_named_by_what_it_does() {
        for (line, symbol, expected) in [
            ("./malloc/./malloc/malloc.c", "_int_free", ALLOCATOR),
            ("???", "__rustc::__rust_alloc", ALLOCATOR),
            (
                "./string/../sysdeps/x86_64/multiarch/memmove.S",
                "__memcpy_avx_unaligned_erms",
                BYTES,
            ),
            (
                "./time/../sysdeps/unix/clock_gettime.c",
                "clock_gettime@@GLIBC_2.17",
                CLOCK,
            ),
        ] {
            assert_eq!(of(line, line, symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn each_spender_has_a_row() {
        let named = CRATES.iter().map(|(_, spender)| spender);
        for spender in named.chain(&[ALLOCATOR, BYTES, CLOCK, MAPS, POINTERS, OTHER]) {
            assert!(SPENDERS.contains(spender), "{spender} is in no table");
        }
    }
}
