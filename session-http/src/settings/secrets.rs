//! Where the server's secrets are, which settings name and never hold.

use super::Advice;
use crate::error::Error;

#[cfg(feature = "sealed")]
use sealed::Keys;
#[cfg(not(feature = "sealed"))]
use session_core::{Policy, SessionManager};

/// Where the keys are for each purpose, if there are any.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    #[cfg(feature = "sealed")]
    digest: Option<Keys>,
    #[cfg(feature = "sealed")]
    sealing: Option<Keys>,
}

#[cfg(not(feature = "sealed"))]
#[expect(clippy::unused_self, reason = "there are none to ask for")]
impl Secrets {
    pub(super) fn put_file(&self, _name: &str, _path: &str) -> Result<(), Advice> {
        Err(WITHOUT_SECRETS)
    }

    pub(super) fn put_keys(&self, _name: &str, _keys: &str) -> Result<(), Advice> {
        Err(WITHOUT_SECRETS)
    }

    pub(super) fn in_policy(&self, policy: Policy, _name: Option<&str>) -> Result<Policy, Error> {
        Ok(policy)
    }

    pub(super) fn in_manager(
        &self,
        manager: SessionManager,
        _name: Option<&str>,
    ) -> Result<SessionManager, Error> {
        Ok(manager)
    }
}

#[cfg(not(feature = "sealed"))]
const WITHOUT_SECRETS: Advice = Advice::Text(
    "needs the feature `sealed` of session-http, without which this program was built",
);

#[cfg(feature = "sealed")]
mod sealed {
    use std::path::PathBuf;

    use session_core::codec::{JsonCodec, SealedCodec};
    use session_core::{DigestKeys, KeyPolicy, KeyRing, Policy, SessionManager};

    use super::{Advice, Error, Secrets};

    #[derive(Debug, Clone)]
    pub(super) enum Keys {
        /// Read when they are needed.
        File(PathBuf),
        Ring(KeyRing),
    }

    impl Keys {
        /// The keys of the application of this name, if it has one.
        fn ring(&self, name: Option<&str>) -> Result<KeyRing, Error> {
            let ring = match self {
                Self::File(path) => KeyRing::from_file(path)?,
                Self::Ring(ring) => ring.clone(),
            };
            Ok(match name {
                Some(name) => ring.with_name(name),
                None => ring,
            })
        }
    }

    impl Secrets {
        /// The setting that names a file of keys.
        pub(in super::super) fn put_file(&mut self, name: &str, path: &str) -> Result<(), Advice> {
            self.put(name, Keys::File(PathBuf::from(path)))
        }

        /// The keys themselves, from the environment.
        pub(in super::super) fn put_keys(&mut self, name: &str, keys: &str) -> Result<(), Advice> {
            let ring = KeyRing::parse(keys).map_err(Advice::Keys)?;
            self.put(name, Keys::Ring(ring))
        }

        fn put(&mut self, name: &str, keys: Keys) -> Result<(), Advice> {
            let place = match name {
                "digest_keys" | "digest_keys_file" => &mut self.digest,
                "sealing_keys" | "sealing_keys_file" => &mut self.sealing,
                _ => return Err(Advice::Unknown(None)),
            };
            *place = Some(keys);
            Ok(())
        }

        pub(in super::super) fn in_policy(
            &self,
            policy: Policy,
            name: Option<&str>,
        ) -> Result<Policy, Error> {
            let Some(keys) = &self.digest else {
                return Ok(policy);
            };
            let keys = DigestKeys::new(&keys.ring(name)?);
            Ok(policy.with_keys(KeyPolicy::Keyed(keys)))
        }

        pub(in super::super) fn in_manager(
            &self,
            manager: SessionManager,
            name: Option<&str>,
        ) -> Result<SessionManager, Error> {
            let Some(keys) = &self.sealing else {
                return Ok(manager);
            };
            Ok(manager.with_codec(SealedCodec::new(JsonCodec::default(), &keys.ring(name)?)))
        }
    }
}
