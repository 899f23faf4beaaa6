//! What each operation of the contract asks of Django's table.

use bytes::Bytes;
use session_core::store::{
    Change, ExpiryChange, NewRecord, Payload, Record, Saved, StoreError, StoreKey, Timestamp,
    Version, VersionContent,
};
use sqlx::Pool;
use tokio::time::Instant;

use super::statements::{Clear, DjangoDialect, Statements};
use super::times::Times;
use crate::columns::{PAYLOAD_BYTES_MAX, damaged, failed, fits};
use crate::config::{DbStoreConfig, ForTable};
use crate::dialect::{Value, call};
use crate::error::Error;
use crate::runner::Runner;
use crate::schema::{Shape, TableName, Whose};
use crate::table::clear::{Batch, OPERATION as CLEAR, SECOND, Sweep};

/// Django's table of sessions.
#[derive(Debug)]
pub(crate) struct DjangoTable<D: DjangoDialect> {
    pub(crate) runner: Runner<D>,
    pub(crate) name: TableName,
    times: Times,
    statements: Statements,
}

impl<D: DjangoDialect> DjangoTable<D> {
    pub(crate) fn new(pool: Pool<D::Driver>, config: DbStoreConfig, times: Times) -> Self {
        let ForTable {
            name,
            timeout,
            keep,
            ..
        } = config.for_table(Whose::Djangos);
        let statements = D::django_statements(&name);
        let statements = match D::keeps_statements(&pool) {
            true => statements,
            false => statements.unprepared(),
        };
        tracing::info!(
            table = %name,
            "sessions are shared with Django: the table holds their keys in clear, and not hashes of these"
        );
        Self {
            runner: Runner::new(pool, keep, timeout, Whose::Djangos),
            name,
            times,
            statements,
        }
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        let shape = Shape {
            whose: Whose::Djangos,
            columns: D::django_columns(&self.times),
            indexes: &[("expire_date", "clear_expired")],
        };
        self.runner.check(&self.name, &shape).await
    }

    pub(crate) const fn system_name(&self) -> &'static str {
        D::SYSTEM
    }

    pub(crate) async fn load(
        &self,
        key: &StoreKey,
        now: Timestamp,
    ) -> Result<Option<Record>, StoreError> {
        const OPERATION: &str = "load";
        let mut values = self.keys(key);
        values.push(self.next(now));
        let call = call(&self.statements.load, values);
        let rows = self.runner.rows(OPERATION, call).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let end = D::read_moment(&self.times, row, 0);
        let end = end.map_err(|error| failed::<D>(OPERATION, error))?;
        let data = D::data(row, 1).map_err(|_no_text| damaged::<D>("session_data"))?;
        let data = Bytes::from(data);
        // In the hour that a clock on the wall shows twice, the end can be read as the earlier moment, and be over. The row
        // lives, as Django compares.
        let end = end.max(now.saturating_add(SECOND));
        let version = version(data.clone());
        Ok(Some(Record::new(Payload::from_bytes(data), end, version)))
    }

    pub(crate) async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        const OPERATION: &str = "create";
        let data = Data::of::<D>(&new.payload)?;
        let deadline = self.runner.deadline();
        let end = self.moment(new.expires_at);
        let mut values = vec![key.into(), data.value(), end.clone()];
        let Some(replace) = &self.statements.replace else {
            values.push(self.next(now));
            let call = call(&self.statements.create, values);
            let written = self
                .runner
                .write(OPERATION, call, data.len(), deadline)
                .await?;
            return match written {
                true => Ok(data.version()),
                false => Err(StoreError::key_taken(D::STORE)),
            };
        };
        let insert = call(&self.statements.create, values);
        let mut values = vec![data.value(), end];
        values.extend(self.keys(key));
        values.push(self.next(now));
        let replace = call(replace, values);
        // The second round is for a session that was in the way of the first insert, and deleted before it could be
        // replaced.
        for _ in 0..2 {
            let inserted = self
                .runner
                .write_unless_taken(OPERATION, insert.clone(), data.len(), deadline)
                .await?;
            if inserted.is_some()
                || self
                    .runner
                    .write(OPERATION, replace.clone(), data.len(), deadline)
                    .await?
            {
                return Ok(data.version());
            }
            if self.is_live(OPERATION, key, now, deadline).await? {
                break;
            }
        }
        Err(StoreError::key_taken(D::STORE))
    }

    pub(crate) async fn save(
        &self,
        key: &StoreKey,
        expected: &Version,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "save";
        let deadline = self.runner.deadline();
        let Some(expected) = content::<D>(expected) else {
            return self.refused(OPERATION, key, now, deadline).await;
        };
        let (data, moved) = self.changed(change)?;
        let statement = match &moved {
            Some(_) => &self.statements.save_and_move,
            None => &self.statements.save,
        };
        let mut values = vec![data.value()];
        values.extend(moved.into_iter().flatten());
        values.extend(self.keys(key));
        values.extend([expected, self.next(now)]);
        let call = call(statement, values);
        let written = self
            .runner
            .write(OPERATION, call, data.len(), deadline)
            .await?;
        match written {
            true => Ok(Saved::Stored(data.version())),
            false => self.refused(OPERATION, key, now, deadline).await,
        }
    }

    pub(crate) async fn rotate(
        &self,
        from: &StoreKey,
        expected: &Version,
        to: &StoreKey,
        change: Change,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        const OPERATION: &str = "rotate";
        let deadline = self.runner.deadline();
        let Some(expected) = content::<D>(expected) else {
            return self.refused(OPERATION, from, now, deadline).await;
        };
        let (data, moved) = self.changed(change)?;
        let statement = match &moved {
            Some(_) => &self.statements.rotate_and_move,
            None => &self.statements.rotate,
        };
        let mut values = vec![to.into(), data.value()];
        values.extend(moved.into_iter().flatten());
        values.extend(self.keys(from));
        values.extend([expected, self.next(now)]);
        let rotate = call(statement, values);
        let rotated = self
            .runner
            .write_unless_taken(OPERATION, rotate.clone(), data.len(), deadline)
            .await?;
        match rotated {
            Some(true) => return Ok(Saved::Stored(data.version())),
            Some(false) => return self.refused(OPERATION, from, now, deadline).await,
            None => {}
        }
        // What has expired does not exist, and may go.
        let mut values = self.keys(to);
        values.push(self.next(now));
        let expired = call(&self.statements.delete_expired, values);
        self.runner.write(OPERATION, expired, 0, deadline).await?;
        let rotated = self
            .runner
            .write(OPERATION, rotate, data.len(), deadline)
            .await?;
        match rotated {
            true => Ok(Saved::Stored(data.version())),
            false => self.refused(OPERATION, from, now, deadline).await,
        }
    }

    pub(crate) async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let call = call(&self.statements.delete, self.keys(key));
        let deadline = self.runner.deadline();
        self.runner.write("delete", call, 0, deadline).await
    }

    pub(crate) async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "touch";
        let deadline = self.runner.deadline();
        let end = self.moment(expires_at);
        let mut values = vec![end.clone()];
        values.extend(self.keys(key));
        values.extend([self.next(now), end]);
        let call = call(&self.statements.touch, values);
        // Nothing was moved: the session is gone, or lives that long already.
        Ok(self.runner.write(OPERATION, call, 0, deadline).await?
            || self.is_live(OPERATION, key, now, deadline).await?)
    }

    pub(crate) async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        let mut sweep = Sweep::begin(D::SYSTEM);
        while let Some((from, limit)) = sweep.next().await {
            let batch = self.clear_batch(from, limit, now);
            sweep.take(batch, progress).await?;
        }
        Ok(sweep.removed())
    }

    async fn clear_batch(
        &self,
        from: Timestamp,
        limit: i64,
        now: Timestamp,
    ) -> Result<Batch, StoreError> {
        let (begin, to) = (self.moment(from), self.moment(now));
        match &self.statements.clear {
            Clear::FromTheStart(clear) => {
                let call = clear.with([to, limit.into()]);
                let removed = self.runner.count(CLEAR, call).await?;
                Ok(Batch::counted(removed, from, limit, None))
            }
            Clear::Told(clear) => {
                let call = clear.with([begin, to, limit.into()]);
                let rows = self.runner.rows(CLEAR, call).await?;
                let batch = rows.first().map(|row| Batch::told::<D>(row, from, limit));
                let batch = batch.transpose();
                let batch = batch.map_err(|error| failed::<D>(CLEAR, error))?;
                Ok(batch.unwrap_or_else(|| Batch::counted(0, from, limit, None)))
            }
            Clear::Counted { end, clear } => {
                let look = end.with([begin.clone(), to, (limit - 1).into()]);
                let rows = self.runner.rows(CLEAR, look).await?;
                let end = rows.first().map(|row| D::read_moment(&self.times, row, 0));
                let end = end.transpose();
                let end = end.map_err(|error| failed::<D>(CLEAR, error))?;
                // Django keeps fractions of seconds: the whole second belongs to the batch, as far as it is over.
                let to = end.map_or(now, |end| end.saturating_add(SECOND).min(now));
                let call = clear.with([begin, self.moment(to), limit.into()]);
                let removed = self.runner.count(CLEAR, call).await?;
                Ok(Batch::counted(removed, from, limit, end))
            }
        }
    }

    /// Why nothing was written: the session lives, with other data, or it does not.
    async fn refused(
        &self,
        operation: &'static str,
        key: &StoreKey,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Saved, StoreError> {
        match self.is_live(operation, key, now, deadline).await? {
            true => Ok(Saved::Conflict),
            false => Ok(Saved::Gone),
        }
    }

    async fn is_live(
        &self,
        operation: &'static str,
        key: &StoreKey,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let mut values = self.keys(key);
        values.push(self.next(now));
        let call = call(&self.statements.is_live, values);
        self.runner.finds(operation, call, deadline).await
    }

    /// What a change writes, and the floor and the cap of its end if it moves that.
    fn changed(&self, change: Change) -> Result<(Data, Option<[Value; 2]>), StoreError> {
        let Change {
            payload, expiry, ..
        } = change;
        let data = Data::of::<D>(&payload)?;
        let moved = match expiry {
            ExpiryChange::Keep => None,
            ExpiryChange::AtLeast(end) => Some([self.moment(end), self.moment(Timestamp::MAX)]),
            ExpiryChange::Set(end) => Some([self.moment(end), self.moment(end)]),
            // A change of a kind that this crate does not know yet.
            _ => return Err(StoreError::unsupported(D::STORE, "change the expiry so")),
        };
        Ok((data, moved))
    }

    /// The key as the statements look for it.
    fn keys(&self, key: &StoreKey) -> Vec<Value> {
        vec![key.into(); self.statements.key_times]
    }

    fn moment(&self, moment: Timestamp) -> Value {
        D::moment(&self.times, moment)
    }

    fn next(&self, now: Timestamp) -> Value {
        D::next(&self.times, now)
    }
}

/// Data as they are stored: what Django's own signing makes of a session.
struct Data(Bytes);

impl Data {
    fn of<D: DjangoDialect>(payload: &Payload) -> Result<Self, StoreError> {
        let bytes = payload.to_bytes()?;
        fits::<D>(bytes.len(), PAYLOAD_BYTES_MAX)?;
        match bytes.iter().all(is_of_signed_text) {
            true => Ok(Self(bytes)),
            false => Err(StoreError::unrepresentable(D::STORE, NotSigned)),
        }
    }

    fn value(&self) -> Value {
        Value::text(str::from_utf8(&self.0).unwrap_or_default())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn version(self) -> Version {
        version(self.0)
    }
}

/// Whether a byte can be in what Django signs: Base64 for URLs, a dot before what is compressed, and colons between the parts.
/// A manager without Django's codec, whose JSON nobody there could read, is found out by its first save.
const fn is_of_signed_text(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'=')
}

/// A payload is not from Django's codec.
#[derive(Debug, thiserror::Error)]
#[error(
    "Django could not read this, since it is not as Django signs a session: build the manager with DjangoSettings::manager"
)]
struct NotSigned;

/// There is no place for a number: the content is its own version.
fn version(content: Bytes) -> Version {
    Version::Content(VersionContent::new(content))
}

/// A version that this table can have issued.
fn content<D: DjangoDialect>(version: &Version) -> Option<Value> {
    match version {
        Version::Content(content) => str::from_utf8(content.as_bytes()).ok().map(Value::text),
        _ => None,
    }
}
