//! When a payload is compressed, and how much of one is inflated.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::flaw::Flaw;

/// A stream is at least so long, so that shorter texts need no try.
const STREAM_LEN_MIN: usize = 8;

/// What a stream begins with at level 6. It says so for who reads it, and means nothing to an inflater.
const START: [u8; 2] = [0x78, 0x9c];

/// The stream that Django would write in place of `text`: one that saves more than a byte, for the dot that announces it.
pub(super) fn compress(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() <= STREAM_LEN_MIN + 1 {
        return None;
    }
    // Python compresses at level 6. This deflate looks for matches as zlib does at its level 9 alone, and comes to the same
    // bytes for nearly every session then; below, it takes shortcuts of its own.
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut stream = encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .ok()?;
    if let Some(start) = stream.first_chunk_mut() {
        *start = START;
    }
    (stream.len() < text.len() - 1).then_some(stream)
}

/// What `stream` holds, up to `bytes_max`: whoever knows the secret could make a stream of a thousandth of what it inflates to.
pub(super) fn inflate(stream: &[u8], bytes_max: usize) -> Result<Vec<u8>, Flaw> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut text = Vec::new();
    // Bytes behind the stream are ignored, as Python ignores them.
    ZlibDecoder::new(stream)
        .take(limit.saturating_add(1))
        .read_to_end(&mut text)
        .map_err(|_not_zlib| Flaw::Zlib)?;
    if text.len() > bytes_max {
        return Err(Flaw::TooLarge { bytes_max });
    }
    Ok(text)
}
