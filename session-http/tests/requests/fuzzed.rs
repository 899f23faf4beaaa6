//! Runs the fuzz target on the stable toolchain, a bounded number of times.
use crate::target::Target;

/// What is cut up, joined and changed.
const PARTS: [&[u8]; 14] = [
    b"__Host-sessionid=",
    b"__Host-sessionid",
    b"__host-sessionid=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"__Host-sessionid=abcdefghijklmnopqrstuvwxyz012345",
    b"=",
    b";",
    b"; ",
    b"\n",
    b"\"",
    b" \t",
    b"\xff\xfe",
    b"theme=dark",
    b",",
    b"$Version=1; $Path=/",
];

#[test]
fn in_13_no_cookie_header_makes_it_panic_or_mistakes_one_visitor_for_another() {
    let executions = std::env::var("SESSION_TEST_FULL").map_or(20_000, |_| 1_000_000);
    let target = Target::new();
    // Numbers that look random and are the same every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..executions {
        let mut input = vec![
            u8::try_from(next(256)).unwrap(),
            u8::try_from(next(256)).unwrap(),
        ];
        for _ in 0..next(12) {
            input.extend_from_slice(PARTS[next(PARTS.len())]);
        }
        for _ in 0..next(4) {
            let at = next(input.len());
            input[at] = u8::try_from(next(256)).unwrap();
        }
        target.cookie_header(&input);
    }
}
