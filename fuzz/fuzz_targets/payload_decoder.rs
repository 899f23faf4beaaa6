//! Whatever a row, a file or a cache may hold that a Django shares.
#![no_main]

use std::sync::LazyLock;

#[path = "../../session-core/tests/django/targets.rs"]
#[expect(dead_code, reason = "each target is a program of its own")]
mod targets;

static TARGETS: LazyLock<targets::Targets> = LazyLock::new(targets::Targets::new);

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGETS.payload_decoder(input));
