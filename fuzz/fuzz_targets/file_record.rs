//! Whatever a session's file may hold.
#![no_main]

#[path = "../../session-file/tests/hostile_records/target.rs"]
#[expect(dead_code, reason = "the tests make their seeds with it")]
mod target;

thread_local! {
    static TARGET: target::Target = target::Target::new();
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.with(|target| {
    target.record(input);
}));
