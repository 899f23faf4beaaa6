//! Writes the corpus that fuzzing starts from: what real Django wrote and refused, as each thing that it may be.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// What the first byte of an input chooses from.
const WAYS: u8 = 32;
/// Longer members teach nothing new, and slow everything down.
const LEN_MAX: usize = 400;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = fs::read(root.join("../session-core/tests/data/django-sessions.json"))?;
    let mut texts = Vec::new();
    collect(&serde_json::from_slice(&vectors)?, &mut texts);
    texts.sort_unstable();
    texts.dedup();
    for target in ["payload_decoder", "cookie_codec"] {
        let folder = root.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (position, text) in texts.iter().enumerate() {
            for way in 0..WAYS {
                let mut input = vec![way];
                input.extend_from_slice(text.as_bytes());
                fs::write(folder.join(format!("{position}-{way}")), input)?;
            }
        }
    }
    Ok(())
}

/// The texts that are payloads, cookies or JSON.
fn collect(value: &Value, texts: &mut Vec<String>) {
    const NAMES: [&str; 6] = [
        "encoded",
        "cookie",
        "session_data",
        "json_text",
        "loaded_json_text",
        "django_result_json_text",
    ];
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if NAMES.contains(&name.as_str()) && text.len() < LEN_MAX => {
                        texts.push(text.to_owned());
                    }
                    _ => collect(value, texts),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}
