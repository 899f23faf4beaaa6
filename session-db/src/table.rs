//! What each operation of the contract asks the database, written once for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use session_core::Owner;
use session_core::store::{
    Change, EndScope, ExpiryChange, Label, NewRecord, Page, Payload, Record, Saved, StoreError,
    StoreKey, Timestamp, Version,
};
use sqlx::Pool;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{DbStoreConfig, ForTable};
use crate::dialect::{Call, Connection, Dialect, Row, Statement, Statements, Value};
use crate::error::{DamagedColumn, Error, Failure, Kind};
use crate::runner::{Runner, random};
use crate::schema::TableName;

/// The largest payload: far above the policy's own limit (1 MiB), and one that no server and no driver chokes on.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// The longest owner and label; the session API allows no longer ones.
const TEXT_BYTES_MAX: usize = 256;

/// What a statement needs besides its payload, generously.
const STATEMENT_BYTES_BESIDES: usize = 4_096;

/// A payload below this is never the reason why a server hangs up: no server is set to take less in one piece.
const PAYLOAD_BYTES_SURELY_TAKEN: usize = 512 << 10;

/// How many records one statement of `clear_expired` removes: few enough that nobody waits long for a lock.
const CLEAR_BATCH: i64 = 500;

/// The pause after a batch is as long as the batch took, but at least this, and at most [`CLEAR_PAUSE_MAX`].
const CLEAR_PAUSE_MIN: Duration = Duration::from_millis(5);
const CLEAR_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long `migrate` may take, waiting for others who migrate included: indexes on a table that is full take a while.
const MIGRATION_TIME_MAX: Duration = Duration::from_secs(120);

/// A table of sessions.
#[derive(Debug)]
pub(crate) struct Table<D: Dialect> {
    pub(crate) runner: Runner<D>,
    pub(crate) name: TableName,
    timeout: Duration,
    creates_schema: bool,
    statements: Statements,
    starts: VersionStarts,
}

impl<D: Dialect> Table<D> {
    pub(crate) fn new(pool: Pool<D::Driver>, config: DbStoreConfig) -> Self {
        let ForTable {
            name,
            timeout,
            creates_schema,
        } = config.for_table();
        let statements = D::statements(&name);
        let statements = match D::keeps_statements(&pool) {
            true => statements,
            false => statements.unprepared(),
        };
        Self {
            runner: Runner::new(pool, timeout),
            statements,
            name,
            timeout,
            creates_schema,
            starts: VersionStarts::new(),
        }
    }

    pub(crate) async fn load(
        &self,
        key: &StoreKey,
        now: Timestamp,
    ) -> Result<Option<Record>, StoreError> {
        const OPERATION: &str = "load";
        let call = self.statements.load.with([key.into(), now.into()]);
        let rows = self.rows(OPERATION, call).await?;
        rows.first().map(|row| record::<D>(row, 0)).transpose()
    }

    pub(crate) async fn create(
        &self,
        key: &StoreKey,
        new: NewRecord,
        now: Timestamp,
    ) -> Result<Version, StoreError> {
        const OPERATION: &str = "create";
        let NewRecord {
            payload,
            expires_at,
            owner,
            label,
            created_at,
            ..
        } = new;
        let rest = Rest::<D>::new(&payload, owner.as_ref(), label.as_ref(), created_at)?;
        let version = self.starts.after(now);
        let deadline = self.runner.deadline();
        let head = [version.into(), expires_at.into()];

        let mut values = vec![key.into()];
        values.extend(head.clone().into_iter().chain(rest.values()));
        let Some(replace) = &self.statements.replace else {
            values.push(now.into());
            let call = call(&self.statements.create, values);
            let written = self.write(OPERATION, call, rest.bytes, deadline).await?;
            return if written {
                Ok(counter(version))
            } else {
                Err(StoreError::key_taken(D::STORE))
            };
        };
        let insert = call(&self.statements.create, values);
        let mut values: Vec<Value> = head.into_iter().chain(rest.values()).collect();
        values.extend([key.into(), now.into()]);
        let replace = call(replace, values);
        // The second round is for a record that was in the way of the first insert, and deleted before it could be
        // replaced.
        for _ in 0..2 {
            let inserted = self
                .write_unless_taken(OPERATION, insert.clone(), rest.bytes, deadline)
                .await?;
            if inserted.is_some()
                || self
                    .write(OPERATION, replace.clone(), rest.bytes, deadline)
                    .await?
            {
                return Ok(counter(version));
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
        let Some(expected) = number(expected) else {
            return self.refused(OPERATION, key, now, deadline).await;
        };
        let version = expected.saturating_add(1);
        let in_place = match change.expiry {
            ExpiryChange::Keep => self.statements.save_in_place.as_ref(),
            _ => None,
        };
        let (rest, floor, cap) = changed::<D>(change)?;
        let (bytes, current) = (rest.bytes, [key.into(), expected.into(), now.into()]);
        if let Some(statement) = in_place {
            let [created_at, owner, label, payload] = rest.values();
            let mut values = vec![version.into(), created_at, label, payload];
            values.extend(current.clone());
            values.push(owner);
            let call = call(statement, values);
            if self.write(OPERATION, call, bytes, deadline).await? {
                return Ok(Saved::Stored(counter(version)));
            }
        }
        let mut values = vec![version.into(), floor, cap];
        values.extend(rest.values());
        values.extend(current);
        let call = call(&self.statements.save, values);
        if self.write(OPERATION, call, bytes, deadline).await? {
            Ok(Saved::Stored(counter(version)))
        } else {
            self.refused(OPERATION, key, now, deadline).await
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
        let Some(expected) = number(expected) else {
            return self.refused(OPERATION, from, now, deadline).await;
        };
        // Newer than the old key's, and than whatever once was at the new one.
        let version = expected.saturating_add(1).max(self.starts.after(now));
        let (rest, floor, cap) = changed::<D>(change)?;
        let bytes = rest.bytes;
        let mut values = vec![to.into(), version.into(), floor, cap];
        values.extend(rest.values());
        values.extend([from.into(), expected.into(), now.into()]);
        let call = call(&self.statements.rotate, values);
        match self
            .write_unless_taken(OPERATION, call.clone(), bytes, deadline)
            .await?
        {
            Some(true) => return Ok(Saved::Stored(counter(version))),
            Some(false) => return self.refused(OPERATION, from, now, deadline).await,
            None => {}
        }
        // What has expired does not exist, and may go.
        let expired = self.statements.delete_expired.with([to.into(), now.into()]);
        self.write(OPERATION, expired, 0, deadline).await?;
        if self.write(OPERATION, call, bytes, deadline).await? {
            Ok(Saved::Stored(counter(version)))
        } else {
            self.refused(OPERATION, from, now, deadline).await
        }
    }

    pub(crate) async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let call = self.statements.delete.with([key.into()]);
        let deadline = self.runner.deadline();
        self.write("delete", call, 0, deadline).await
    }

    pub(crate) async fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "touch";
        let deadline = self.runner.deadline();
        let values = [expires_at.into(), key.into(), now.into(), expires_at.into()];
        let call = self.statements.touch.with(values);
        // Nothing was moved: the record is gone, or lives that long already.
        Ok(self.write(OPERATION, call, 0, deadline).await?
            || self.is_live(OPERATION, key, now, deadline).await?)
    }

    pub(crate) async fn clear_expired(
        &self,
        now: Timestamp,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        const OPERATION: &str = "clear expired sessions";
        let limit = u64::try_from(CLEAR_BATCH).unwrap_or(u64::MAX);
        let mut from = Timestamp::MIN;
        let mut total = 0_u64;
        loop {
            let values = [from.into(), now.into(), CLEAR_BATCH.into()];
            let call = self.statements.clear.with(values);
            let start = Instant::now();
            let answer = self.runner.run(call, self.runner.deadline()).await;
            let answer = answer.map_err(|failure| failure.into_store_error::<D>(OPERATION))?;
            let mut removed = answer.affected;
            // What was removed stays in the index for a while, in some databases: the next batch begins behind it.
            if let Some(row) = answer.rows.first() {
                let columns =
                    D::integer(row, 0).and_then(|count| Ok((count, D::nullable_integer(row, 1)?)));
                let (count, last) = columns.map_err(|error| failed::<D>(OPERATION, error))?;
                removed = u64::try_from(count).unwrap_or(0);
                from = last.map_or(from, Timestamp::from_secs);
            }
            total = total.saturating_add(removed);
            progress(total);
            if removed < limit {
                return Ok(total);
            }
            // As long as the work: live traffic has the database for at least half of the time.
            sleep(start.elapsed().clamp(CLEAR_PAUSE_MIN, CLEAR_PAUSE_MAX)).await;
        }
    }

    pub(crate) async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let Page { after, limit, .. } = page;
        let values = [
            Value::text(owner.as_str()),
            now.into(),
            after_key(after),
            page_limit(limit),
        ];
        let call = self.statements.sessions_of.with(values);
        self.records("list an owner's sessions", call).await
    }

    pub(crate) async fn end(&self, owner: &Owner, scope: EndScope) -> Result<u64, StoreError> {
        const OPERATION: &str = "end an owner's sessions";
        let owner = Value::text(owner.as_str());
        let call = match scope {
            EndScope::One(key) => self.statements.end_one.with([Value::Key(key), owner]),
            EndScope::AllExcept(key) => self.statements.end_others.with([owner, Value::Key(key)]),
            EndScope::All => self.statements.end_all.with([owner]),
            _ => return Err(StoreError::unsupported(D::STORE, OPERATION)),
        };
        let answer = self.runner.run(call, self.runner.deadline()).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(OPERATION))?;
        Ok(answer.affected)
    }

    pub(crate) async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let Page { after, limit, .. } = page;
        let values = [after_key(after), page_limit(limit)];
        let call = self.statements.page.with(values);
        self.records("page through all sessions", call).await
    }

    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        const OPERATION: &str = "make the table of sessions in";
        // Without this look, a role that may use the table and make none could not start a program that migrates.
        if self.table_findings(OPERATION).await?.is_empty() {
            return Ok(());
        }
        let make = self.on_connection(OPERATION, MIGRATION_TIME_MAX, async |connection| {
            D::migrate(connection, &self.name, self.creates_schema).await
        });
        make.await?;
        // A table of another's with this name is not touched, and not taken for ours.
        self.ready(self.table_findings(OPERATION).await?)
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        const OPERATION: &str = "check";
        let mut findings = self.table_findings(OPERATION).await?;
        let inspect = self.on_connection(OPERATION, self.timeout, async |connection| {
            D::inspect_settings(connection, &self.name).await
        });
        findings.extend(inspect.await?);
        self.ready(findings)
    }

    async fn table_findings(&self, operation: &'static str) -> Result<Vec<String>, Error> {
        let inspect = self.on_connection(operation, self.timeout, async |connection| {
            D::inspect_table(connection, &self.name).await
        });
        inspect.await
    }

    fn ready(&self, findings: Vec<String>) -> Result<(), Error> {
        if findings.is_empty() {
            return Ok(());
        }
        Err(Error::NotReady {
            database: D::DATABASE,
            table: self.name.quoted(D::QUOTE),
            findings,
        })
    }

    /// Does something on a connection that is no operation of the contract.
    async fn on_connection<T>(
        &self,
        operation: &'static str,
        timeout: Duration,
        work: impl AsyncFnOnce(&mut Connection<D>) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        let failed = |failure: Failure| failure.into_error(operation);
        let deadline = Instant::now() + timeout;
        let mut lent = self.runner.acquire(deadline).await.map_err(failed)?;
        let connection = lent.connection().map_err(failed)?;
        let done = timeout_at(deadline, work(connection)).await;
        let done = done.map_err(|_elapsed| {
            let advice = "it did not answer in time; is it overloaded?";
            failed(Failure::new::<D>(Kind::Unavailable, advice))
        })?;
        let done = done.map_err(|error| failed(Failure::of::<D>(error)))?;
        lent.give_back();
        Ok(done)
    }

    /// Why nothing was written: the record lives, at another version, or it does not.
    async fn refused(
        &self,
        operation: &'static str,
        key: &StoreKey,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Saved, StoreError> {
        if self.is_live(operation, key, now, deadline).await? {
            Ok(Saved::Conflict)
        } else {
            Ok(Saved::Gone)
        }
    }

    async fn is_live(
        &self,
        operation: &'static str,
        key: &StoreKey,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let call = self.statements.is_live.with([key.into(), now.into()]);
        let answer = self.runner.run(call, deadline).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(operation))?;
        Ok(!answer.rows.is_empty())
    }

    /// Whether a row was written.
    async fn write(
        &self,
        operation: &'static str,
        call: Call,
        payload_bytes: usize,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let written = self
            .write_unless_taken(operation, call, payload_bytes, deadline)
            .await?;
        written.ok_or_else(|| StoreError::key_taken(D::STORE))
    }

    /// Whether a row was written, or `None` if its key was taken.
    async fn write_unless_taken(
        &self,
        operation: &'static str,
        call: Call,
        payload_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<bool>, StoreError> {
        match self.runner.run(call, deadline).await {
            Ok(answer) => Ok(Some(answer.affected > 0)),
            Err(failure) if failure.kind == Kind::Duplicate => Ok(None),
            Err(failure) => Err(self
                .unless_too_large(failure, payload_bytes, deadline)
                .await
                .unwrap_or_else(|failure| failure.into_store_error::<D>(operation))),
        }
    }

    /// The error for a payload that the server does not take. It may say so, or hang up on the one who sends too much.
    async fn unless_too_large(
        &self,
        failure: Failure,
        payload_bytes: usize,
        deadline: Instant,
    ) -> Result<StoreError, Failure> {
        let may_be_the_size = failure.kind == Kind::TooLarge
            || (failure.is_lost() && payload_bytes > PAYLOAD_BYTES_SURELY_TAKEN);
        if !may_be_the_size {
            return Err(failure);
        }
        let limit = match self.runner.acquire(deadline).await {
            Ok(mut lent) => {
                let limit = match lent.connection() {
                    Ok(connection) => D::statement_bytes_max(connection).await.ok().flatten(),
                    Err(_given_back) => None,
                };
                lent.give_back();
                limit
            }
            Err(_unreachable) => None,
        };
        match limit.map(|limit| limit.saturating_sub(STATEMENT_BYTES_BESIDES)) {
            Some(limit) if payload_bytes > limit => {
                Ok(StoreError::too_large(D::STORE, payload_bytes, limit))
            }
            None if failure.kind == Kind::TooLarge => Ok(StoreError::too_large(
                D::STORE,
                payload_bytes,
                payload_bytes.saturating_sub(1),
            )),
            _ => Err(failure),
        }
    }

    async fn rows(&self, operation: &'static str, call: Call) -> Result<Vec<Row<D>>, StoreError> {
        let answer = self.runner.run(call, self.runner.deadline()).await;
        let answer = answer.map_err(|failure| failure.into_store_error::<D>(operation))?;
        Ok(answer.rows)
    }

    async fn records(
        &self,
        operation: &'static str,
        call: Call,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let rows = self.rows(operation, call).await?;
        rows.iter()
            .map(|row| {
                let key = D::text(row, 0).map_err(|error| failed::<D>(operation, error))?;
                let key = StoreKey::parse(&key).ok_or_else(|| damaged::<D>("session_key"))?;
                Ok((key, record::<D>(row, 1)?))
            })
            .collect()
    }
}

fn call(statement: &Statement, values: Vec<Value>) -> Call {
    Call {
        statement: statement.clone(),
        values,
    }
}

fn failed<D: Dialect>(operation: &'static str, error: sqlx::Error) -> StoreError {
    Failure::of::<D>(error).into_store_error::<D>(operation)
}

fn damaged<D: Dialect>(column: &'static str) -> StoreError {
    StoreError::damaged(D::STORE, DamagedColumn { column })
}

fn after_key(after: Option<StoreKey>) -> Value {
    after.map_or(Value::NoKey, Value::Key)
}

fn page_limit(limit: usize) -> Value {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}

const fn counter(version: i64) -> Version {
    Version::Counter(version.unsigned_abs())
}

/// A version that this table can have issued.
fn number(version: &Version) -> Option<i64> {
    match version {
        Version::Counter(version) => i64::try_from(*version).ok(),
        _ => None,
    }
}

/// What every write of a record binds after its expiry, in the order of the statements.
struct Rest<D> {
    created_at: Value,
    owner: Value,
    label: Value,
    payload: Value,
    bytes: usize,
    dialect: std::marker::PhantomData<D>,
}

impl<D: Dialect> Rest<D> {
    fn new(
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

    fn values(&self) -> [Value; 4] {
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

const fn fits<D: Dialect>(bytes: usize, bytes_max: usize) -> Result<(), StoreError> {
    if bytes > bytes_max {
        return Err(StoreError::too_large(D::STORE, bytes, bytes_max));
    }
    Ok(())
}

/// What a change binds, with the floor and the cap of its expiry.
fn changed<D: Dialect>(change: Change) -> Result<(Rest<D>, Value, Value), StoreError> {
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
fn record<D: Dialect>(row: &Row<D>, first: usize) -> Result<Record, StoreError> {
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

/// Where a new key's versions start, so that a key that comes back never sees an old version again: seconds, and below
/// them steps that keep far apart, from a random start. All made here, so that a new record is one statement and needs no
/// answer: MySQL has no `RETURNING`.
#[derive(Debug)]
struct VersionStarts {
    next: AtomicU64,
}

impl VersionStarts {
    const ROOM_BITS: u32 = 24;
    /// The golden section of the room: each start falls into the widest gap between those before it.
    const STEP: u64 = 10_368_889;

    fn new() -> Self {
        Self {
            next: AtomicU64::new(random()),
        }
    }

    fn after(&self, now: Timestamp) -> i64 {
        const _: () = assert!(
            Timestamp::MAX.as_secs() < 1 << 38,
            "seconds and room fit into 62 bits"
        );
        let room =
            self.next.fetch_add(Self::STEP, Ordering::Relaxed) & ((1 << Self::ROOM_BITS) - 1);
        let room = i64::try_from(room).unwrap_or(0);
        (now.as_secs().max(0) << Self::ROOM_BITS) | room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_back_gets_later_versions() {
        let starts = VersionStarts::new();
        let at = |secs| starts.after(Timestamp::from_secs(secs));
        assert!(at(1_000) < at(1_001));
        assert!(at(Timestamp::MAX.as_secs()) < i64::MAX / 2);
        assert!(
            at(-5) < at(1),
            "a clock before 1970 must not break anything"
        );
    }

    #[test]
    fn starts_within_a_second_keep_far_apart() {
        let starts = VersionStarts::new();
        let mut issued: Vec<i64> = (0..1_000)
            .map(|_| starts.after(Timestamp::from_secs(1_000)))
            .collect();
        issued.sort_unstable();
        let closest = issued.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(
            closest > Some(5_000),
            "a record that is saved that often would reach the versions of a later one: {closest:?}"
        );
    }
}
