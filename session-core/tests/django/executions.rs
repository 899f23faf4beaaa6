//! A bounded run of each fuzz target on the stable toolchain, over a corpus from the vectors. Ten million executions of
//! each with `SESSION_TEST_FULL=1`.

use serde_json::Value;

use crate::support::{VECTORS, cases};
use crate::targets::Targets;

fn executions() -> u64 {
    match std::env::var("SESSION_TEST_FULL") {
        Ok(full) if full == "1" => 10_000_000,
        _ => 20_000,
    }
}

/// What Django wrote and what it refused, and the JSON of both, none of it long.
fn corpus() -> Vec<Vec<u8>> {
    let fields = [
        "encoded",
        "json_text",
        "django_result_json_text",
        "cookie",
        "session_data",
        "loaded_json_text",
    ];
    let sections = [
        cases("/payload", 65),
        cases("/payload_negative", 64),
        cases("/signed_cookies/encoded", 6),
        cases("/signed_cookies/load", 14),
        cases("/db/rows", 12),
    ];
    let mut corpus: Vec<Vec<u8>> = sections
        .into_iter()
        .flatten()
        .flat_map(|case| fields.iter().filter_map(|field| case[field].as_str()))
        .filter(|text| text.len() < 400)
        .map(|text| text.as_bytes().to_vec())
        .collect();
    corpus.push(
        VECTORS["auth"]["login"]["json_text"]
            .as_str()
            .map(Into::into)
            .expect("a login"),
    );
    corpus.extend(
        VECTORS["floats"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|case| {
                let float = case["python_json"].as_str()?;
                Some(format!("{{\"f\":[{float}]}}").into_bytes())
            }),
    );
    assert!(corpus.len() > 200, "the corpus has {} inputs", corpus.len());
    corpus
}

/// Bytes that mean something to one of the layers.
const TOKENS: [&[u8]; 26] = [
    b":",
    b".",
    b"\"",
    b"\\",
    br"\u",
    br"\ud83d",
    br"\ude00",
    br"\u00e9",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"NaN",
    b"-Infinity",
    b"Infinity",
    b"1e999",
    b"-0",
    b"0.1e-7",
    b"true",
    b"null",
    b"\xe9",
    b"\x00",
    b"-",
    b"=",
    b"\"_session_expiry\":",
];

/// xorshift64*: the same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from((self.next() >> 16) % bound).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() >> 56).unwrap()
    }

    /// A member of the corpus, changed in a few places, with a first byte that says what it is.
    fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = vec![self.byte()];
        input.extend_from_slice(&corpus[self.below(corpus.len())]);
        for _ in 0..self.below(5) {
            let at = 1 + self.below(input.len());
            let at = at.min(input.len());
            match self.below(6) {
                0 if at < input.len() => input[at] = self.byte(),
                1 if at < input.len() => input[at] ^= 1 << self.below(8),
                2 => drop(input.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
                3 => {
                    let end = (at + self.below(16)).min(input.len());
                    drop(input.drain(at..end));
                }
                4 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(64)).min(other.len());
                    drop(input.splice(at..at, other[from..to].iter().copied()));
                }
                _ => {
                    let end = (at + self.below(8)).min(input.len());
                    let repeated = input[at..end].repeat(1 + self.below(32));
                    drop(input.splice(at..at, repeated));
                }
            }
        }
        input
    }
}

/// Runs the target on the corpus as it is, each member as everything that it may be, and then on what becomes of it, in as
/// many threads as there are processors.
fn run(seed: u64, target: impl Fn(&[u8]) + Sync) {
    let corpus = corpus();
    for plain in &corpus {
        for how in 0..32 {
            let mut input = vec![how];
            input.extend_from_slice(plain);
            target(&input);
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let each = executions().div_ceil(u64::try_from(threads).unwrap());
    std::thread::scope(|scope| {
        for thread in 1..=threads {
            let (corpus, target) = (&corpus, &target);
            let mut random = Random(seed << 32 | u64::try_from(thread).unwrap());
            scope.spawn(move || {
                for _ in 0..each {
                    let input = random.input(corpus);
                    let execution = std::panic::AssertUnwindSafe(|| target(&input));
                    let ran = std::panic::catch_unwind(execution);
                    assert!(ran.is_ok(), "this input fails: {:?}", Value::from(input));
                }
            });
        }
    });
}

#[test]
fn in_13_no_input_makes_the_payload_decoder_panic_or_change_what_it_read() {
    let targets = Targets::new();
    run(1, |input| targets.payload_decoder(input));
}

#[test]
fn in_13_no_input_makes_the_cookie_codec_panic_or_believe_what_is_over() {
    let targets = Targets::new();
    run(2, |input| targets.cookie_codec(input));
}
