//! Whatever is in a cache where a session should be: a bounded run of the fuzz target on the stable toolchain.

#[cfg(test)]
mod target;

#[cfg(test)]
const FULL: u32 = 1_000_000;
#[cfg(test)]
const ORDINARY: u32 = 20_000;

#[test]
fn in_13_data_01_no_entry_makes_the_store_panic_or_serve_what_was_not_written() {
    let target = target::Target::new();
    let seeds = [target.good(b"{}"), target.good(b"{\"cart\":[1,2,3]}")];
    for seed in &seeds {
        assert!(
            target.entry(seed),
            "what the store has written is no session"
        );
    }
    let executions = match std::env::var("SESSION_TEST_FULL") {
        Ok(full) if full == "1" => FULL,
        _ => ORDINARY,
    };
    // Numbers that look random and are the same every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut refused = 0_u32;
    for _ in 0..executions {
        let mut bytes = seeds[next(2)].clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len().max(1)).min(bytes.len());
            match next(4) {
                0 if at < bytes.len() => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, u8::try_from(next(256)).unwrap()),
                _ => bytes.truncate(at),
            }
        }
        refused += u32::from(!target.entry(&bytes));
    }
    assert!(
        refused > executions / 2,
        "only {refused} of {executions} were refused"
    );
}
