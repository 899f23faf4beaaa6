#![doc = include_str!("../docs/django.md")]

mod base62;
mod flaw;
mod float;
mod json;
mod zlib;
mod signer;
mod wall_clock;
mod format;
mod settings;
mod codec;
mod cache_codec;
mod cookie;
mod user;

pub use cache_codec::DjangoCacheCodec;
pub use codec::DjangoCodec;
pub use cookie::{COOKIE_BYTES_MAX, ReadableIrrevocableCookies, Unsigned};
pub use settings::{DjangoSettings, SameSiteSetting};
pub use user::{DjangoUser, HashMatch};
pub use wall_clock::WallClock;
