//! What is thrown at the codecs: for the tests here and for cargo-fuzz, which includes this file.
//!
//! No input may make one panic, change what was read, or make the sealed one believe what it has not sealed.

use session_core::KeyRing;
use session_core::codec::{Binding, Codec, JsonCodec, SealedCodec};
use session_core::store::StoreKey;

pub(crate) struct Target {
    sealed: SealedCodec<JsonCodec>,
    binding: Binding,
    seal: Vec<u8>,
}

impl Target {
    pub(crate) fn new() -> Self {
        let secret: Vec<u8> = (0..32).collect();
        let ring = KeyRing::from_bytes(&secret).expect("a key of 32 bytes");
        let sealed = SealedCodec::new(JsonCodec::default(), &ring);
        let key = StoreKey::parse("0123456789abcdef0123456789abcdef01234567");
        let binding = Binding::new(key.expect("a store key"));
        let json = bytes::Bytes::from_static(b"{\"cart\":[1,2]}");
        let data = JsonCodec::default()
            .decode(&binding, &json)
            .expect("this is JSON");
        let seal = sealed.encode(&binding, &data).expect("it can be sealed");
        Self {
            sealed,
            binding,
            seal: seal.to_vec(),
        }
    }

    /// Whatever a store may hold. The first byte says what is done with the rest.
    pub(crate) fn codecs(&self, input: &[u8]) {
        let Some((how, input)) = input.split_first() else {
            return;
        };
        match how % 3 {
            0 => self.json(input),
            1 => self.forged(input.to_vec()),
            _ => self.tampered(input),
        }
    }

    /// What is read is written and read again without a change, plain and sealed.
    fn json(&self, input: &[u8]) {
        let plain = JsonCodec::default();
        let Ok(data) = plain.decode(&self.binding, &input.to_vec().into()) else {
            return;
        };
        for codec in [&plain as &dyn Codec, &self.sealed] {
            let written = codec
                .encode(&self.binding, &data)
                .expect("what was read can be written");
            let again = codec
                .decode(&self.binding, &written)
                .expect("what was written can be read");
            assert_eq!(again.to_json(), data.to_json(), "a session has changed");
        }
    }

    /// Nobody without the key writes what is believed.
    fn forged(&self, input: Vec<u8>) {
        let opened = self.sealed.decode(&self.binding, &input.into());
        assert!(opened.is_err(), "a forged payload is believed");
    }

    /// A payload that was sealed here, with the input written over it somewhere, or cut, or made longer.
    fn tampered(&self, input: &[u8]) {
        let Some((at, input)) = input.split_first() else {
            return;
        };
        let mut seal = self.seal.clone();
        let at = usize::from(*at) % (seal.len() + 1);
        seal.splice(at.., input.iter().copied());
        if seal != self.seal {
            self.forged(seal);
        }
    }
}
