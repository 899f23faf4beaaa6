//! The contract of every store, on a primary that a Sentinel names.
#![cfg(feature = "redis")]

#[cfg(test)]
mod support;

use support::Server;

session_core::conformance_suite!(
    || async { Server::Sentinel.store_or_standin().await },
    except: [
        keeps_expired_records = "Redis forgets by itself",
    ],
);
