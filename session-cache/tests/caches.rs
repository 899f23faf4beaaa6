//! The contract of caches, on each of them.
#![cfg(all(feature = "conformance", feature = "memory", feature = "redis"))]

#[cfg(test)]
mod support;

use session_cache::{Cache, MemoryCache};
use support::Server;

/// A Redis, or what says nothing about it where there is none.
async fn on(server: Server) -> Box<dyn Cache> {
    match server.cache().await {
        Some(cache) => Box::new(cache),
        None => Box::new(MemoryCache::new()),
    }
}

session_cache::cache_conformance_suite!(|| async { MemoryCache::new() }, name: memory);
session_cache::cache_conformance_suite!(|| async { on(Server::Standalone).await }, name: standalone);
session_cache::cache_conformance_suite!(|| async { on(Server::Cluster).await }, name: cluster);
session_cache::cache_conformance_suite!(|| async { on(Server::Sentinel).await }, name: sentinel);
