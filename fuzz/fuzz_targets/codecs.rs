//! Whatever a store may hold, to the codecs that come with the core.
#![no_main]

#[path = "../../session-core/tests/requests/codec_target.rs"]
mod target;

thread_local! {
    static TARGET: target::Target = target::Target::new();
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.with(|target| target.codecs(input)));
