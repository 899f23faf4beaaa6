//! Whatever a cache may hold under a session's key.
#![no_main]

#[path = "../../session-cache/tests/hostile_entries/target.rs"]
#[expect(dead_code, reason = "the tests make their seeds with it")]
mod target;

thread_local! {
    static TARGET: target::Target = target::Target::new();
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.with(|target| {
    target.entry(input);
}));
