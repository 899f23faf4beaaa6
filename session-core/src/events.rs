//! What an operator is told of sessions: events with fixed names, which say whose by the session's handle.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::clock::Timestamp;
use crate::key::{SessionHandle, StoreKey};
use crate::store::StoreError;
use crate::telemetry::Count;

/// Why a session ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// Its own request said so.
    LogOut,
    /// Its owner had more than the policy allows.
    Limit,
}

impl Ending {
    const fn reason(self) -> &'static str {
        match self {
            Self::LogOut => "log_out",
            Self::Limit => "limit",
        }
    }
}

/// One of many on a busy site, unlike those below.
pub(crate) fn created(key: &StoreKey, is_logged_in: bool) {
    Count::Created.add(1);
    tracing::debug!(
        event = "session_created",
        session = %SessionHandle::of(key),
        is_logged_in,
        "a session began"
    );
}

pub(crate) fn rotated(from: &StoreKey, to: &StoreKey, is_log_in: bool) {
    Count::Rotated.add(1);
    tracing::info!(
        event = "session_rotated",
        session = %SessionHandle::of(to),
        before = %SessionHandle::of(from),
        is_log_in,
        "a session has a new key"
    );
}

pub(crate) fn ended(key: &StoreKey, ending: Ending) {
    Count::Ended(ending.reason()).add(1);
    tracing::info!(
        event = "session_ended",
        session = %SessionHandle::of(key),
        reason = ending.reason(),
        "a session was ended"
    );
}

pub(crate) fn ended_by_owner(scope: &'static str, sessions: u64) {
    Count::Ended("by_owner").add(sessions);
    tracing::info!(
        event = "sessions_ended",
        scope,
        sessions,
        "an owner's sessions were ended"
    );
}

pub(crate) fn expired(key: &StoreKey) {
    Count::Expired.add(1);
    tracing::info!(
        event = "session_expired",
        session = %SessionHandle::of(key),
        "a session is over by the policy"
    );
}

pub(crate) fn conflict(key: &StoreKey, conflicts: u32) {
    Count::Conflict.add(1);
    tracing::debug!(
        event = "session_conflict",
        session = %SessionHandle::of(key),
        conflicts,
        "another request wrote this session; merging"
    );
}

pub(crate) fn damaged(key: &StoreKey, error: &StoreError) {
    Count::Damaged.add(1);
    tracing::error!(
        event = "session_damaged",
        session = %SessionHandle::of(key),
        error = error as &dyn std::error::Error,
        "a damaged session is left as it is; the visitor starts afresh"
    );
}

pub(crate) fn store_failed(operation: &'static str, error: &StoreError) {
    tracing::warn!(
        event = "store_failed",
        operation,
        error = error as &dyn std::error::Error,
        "the session store failed"
    );
}

pub(crate) fn changes_lost() {
    tracing::warn!(
        event = "session_changes_lost",
        "a session was changed where no response will store it, and the change is lost; `save` stores it"
    );
}

/// One of them may have been planted, and there is no telling which.
pub(crate) fn several_live() {
    tracing::warn!(
        event = "session_ambiguous",
        "a request presented several live sessions: anonymous"
    );
}

pub(crate) fn too_many_candidates(limit: usize) {
    tracing::warn!(
        event = "session_ambiguous",
        limit,
        "a request presented too many session keys: anonymous"
    );
}

pub(crate) fn too_many_new_sessions(per_minute_max: u32) {
    tracing::warn!(
        event = "session_limit",
        per_minute_max,
        "too many new sessions without a log-in: refused"
    );
}

/// Keys that were presented and not known, or expired: counted each, told once a minute.
#[derive(Debug, Default)]
pub(crate) struct UnknownKeys {
    count: AtomicU64,
    told: AtomicU64,
    /// The last minute in which it was told.
    minute: AtomicI64,
}

impl UnknownKeys {
    pub(crate) fn note(&self, now: Timestamp) {
        Count::UnknownKey.add(1);
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let minute = now.as_secs().div_euclid(60);
        if self.minute.swap(minute, Ordering::Relaxed) == minute {
            return;
        }
        let before = self.told.swap(count, Ordering::Relaxed);
        tracing::warn!(
            event = "session_unknown",
            presented = count.saturating_sub(before),
            "a request presented an unknown or expired session key; further ones are told in a minute"
        );
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
