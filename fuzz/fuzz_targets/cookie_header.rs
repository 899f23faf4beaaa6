//! Whatever a client may send in its `Cookie` headers.
#![no_main]

#[path = "../../session-http/tests/requests/target.rs"]
mod target;

thread_local! {
    static TARGET: target::Target = target::Target::new();
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.with(|target| target.cookie_header(input)));
