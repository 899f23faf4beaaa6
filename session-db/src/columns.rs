//! A record as the values of its row, and back.

use std::sync::Arc;

use session_core::Owner;
use session_core::store::{
    Change, ExpiryChange, Label, Payload, Record, StoreError, Timestamp, Version,
};

use crate::dialect::{Dialect, Row, Value};
use crate::error::{DamagedColumn, Failure};

/// The largest payload: far above the policy's own limit (1 MiB), and one that no server and no driver chokes on.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// The longest owner and label; the session API allows no longer ones.
const TEXT_BYTES_MAX: usize = 256;

/// What every write of a record binds after its expiry, in the order of the statements.
pub(crate) struct Rest<D> {
    created_at: Value,
    owner: Value,
    label: Value,
    payload: Value,
    pub(crate) bytes: usize,
    dialect: std::marker::PhantomData<D>,
}

impl<D: Dialect> Rest<D> {
    pub(crate) fn new(
        payload: &Payload,
        owner: Option<&Owner>,
        label: Option<&Label>,
        created_at: Option<Timestamp>,
    ) -> Result<Self, StoreError> {
        let payload = payload.to_bytes()?;
        let bytes = payload.len();
        let text = |text: Option<&str>| {
            fits::<D>(text.map_or(0, str::len), TEXT_BYTES_MAX)?;
            Ok::<_, StoreError>(Value::Text(text.map(Arc::from)))
        };
        fits::<D>(bytes, PAYLOAD_BYTES_MAX)?;
        Ok(Self {
            created_at: Value::Integer(created_at.map(Timestamp::as_secs)),
            owner: text(owner.map(Owner::as_str))?,
            label: text(label.map(Label::as_str))?,
            payload: Value::Bytes(payload),
            bytes,
            dialect: std::marker::PhantomData,
        })
    }

    pub(crate) fn values(&self) -> [Value; 4] {
        let Self {
            created_at,
            owner,
            label,
            payload,
            ..
        } = self;
        [
            created_at.clone(),
            owner.clone(),
            label.clone(),
            payload.clone(),
        ]
    }
}

pub(crate) const fn fits<D: Dialect>(bytes: usize, bytes_max: usize) -> Result<(), StoreError> {
    if bytes > bytes_max {
        return Err(StoreError::too_large(D::STORE, bytes, bytes_max));
    }
    Ok(())
}

/// What a change binds, with the floor and the cap of its expiry.
pub(crate) fn changed<D: Dialect>(change: Change) -> Result<(Rest<D>, Value, Value), StoreError> {
    let Change {
        payload,
        expiry,
        owner,
        label,
        created_at,
        ..
    } = change;
    let (floor, cap) = match expiry {
        ExpiryChange::Keep => (Timestamp::MIN, Timestamp::MAX),
        ExpiryChange::AtLeast(moment) => (moment, Timestamp::MAX),
        ExpiryChange::Set(moment) => (moment, moment),
        // A change of a kind that this crate does not know yet.
        _ => return Err(StoreError::unsupported(D::STORE, "change the expiry so")),
    };
    let rest = Rest::<D>::new(&payload, owner.as_ref(), label.as_ref(), created_at)?;
    Ok((rest, floor.into(), cap.into()))
}

/// The record whose columns begin at `first`.
pub(crate) fn record<D: Dialect>(row: &Row<D>, first: usize) -> Result<Record, StoreError> {
    const OPERATION: &str = "read a row";
    let failed = |error| failed::<D>(OPERATION, error);
    let text = |column: &'static str, index: usize| {
        let bytes = D::nullable_bytes(row, index).map_err(failed)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_not_utf8| damaged::<D>(column))
    };
    let version = D::integer(row, first).map_err(failed)?;
    let version = u64::try_from(version).map_err(|_negative| damaged::<D>("version"))?;
    let expires_at = D::integer(row, first + 1).map_err(failed)?;
    let created_at = D::nullable_integer(row, first + 2).map_err(failed)?;
    let owner = text("owner", first + 3)?;
    let label = text("label", first + 4)?;
    let payload = D::bytes(row, first + 5).map_err(failed)?;
    let mut record = Record::new(
        Payload::from_bytes(payload),
        Timestamp::from_secs(expires_at),
        Version::Counter(version),
    );
    record.owner = owner.map(Owner::from);
    record.label = label.as_deref().map(Label::new);
    record.created_at = created_at.map(Timestamp::from_secs);
    Ok(record)
}

pub(crate) const fn counter(version: i64) -> Version {
    Version::Counter(version.unsigned_abs())
}

/// A version that this table can have issued.
pub(crate) fn number(version: &Version) -> Option<i64> {
    match version {
        Version::Counter(version) => i64::try_from(*version).ok(),
        _ => None,
    }
}

pub(crate) fn failed<D: Dialect>(operation: &'static str, error: sqlx::Error) -> StoreError {
    Failure::of::<D>(error).into_store_error::<D>(operation)
}

pub(crate) fn damaged<D: Dialect>(column: &'static str) -> StoreError {
    StoreError::damaged(D::STORE, DamagedColumn { column })
}
