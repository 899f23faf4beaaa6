//! The contract of every store, on a standalone Redis.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use support::Server;

session_core::conformance_suite!(
    || async { Server::Standalone.store_or_standin().await },
    except: [
        keeps_expired_records = "Redis forgets by itself",
    ],
);
