//! What each operation of the contract asks the database, written once for all of them.

pub(crate) mod clear;
mod setup;

use session_core::Owner;
use session_core::store::{
    Change, EndScope, ExpiryChange, NewRecord, Page, Record, Saved, StoreError, StoreKey,
    Timestamp, Version,
};
use sqlx::Pool;
use tokio::time::Instant;

use crate::columns::{Rest, changed, counter, damaged, failed, number, record};
use crate::config::{DbStoreConfig, ForTable};
use crate::dialect::{Call, Dialect, Statements, Value, call};
use crate::runner::Runner;
use crate::schema::{TableName, Whose};
use crate::versions::VersionStarts;

/// A table of sessions.
#[derive(Debug)]
pub(crate) struct Table<D: Dialect> {
    pub(crate) runner: Runner<D>,
    pub(crate) name: TableName,
    creates_schema: bool,
    statements: Statements,
    starts: VersionStarts,
}

impl<D: Dialect> Table<D> {
    pub(crate) fn new(pool: Pool<D::Driver>, config: DbStoreConfig) -> Self {
        let ForTable {
            name,
            timeout,
            keep,
            creates_schema,
        } = config.for_table(Whose::Ours);
        let statements = D::statements(&name);
        let statements = match D::keeps_statements(&pool) {
            true => statements,
            false => statements.unprepared(),
        };
        Self {
            runner: Runner::new(pool, keep, timeout, Whose::Ours),
            statements,
            name,
            creates_schema,
            starts: VersionStarts::new(),
        }
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
        let call = self.statements.load.with([key.into(), now.into()]);
        let rows = self.runner.rows(OPERATION, call).await?;
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
            let written = self
                .runner
                .write(OPERATION, call, rest.bytes, deadline)
                .await?;
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
                .runner
                .write_unless_taken(OPERATION, insert.clone(), rest.bytes, deadline)
                .await?;
            if inserted.is_some()
                || self
                    .runner
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
            if self.runner.write(OPERATION, call, bytes, deadline).await? {
                return Ok(Saved::Stored(counter(version)));
            }
        }
        let mut values = vec![version.into(), floor, cap];
        values.extend(rest.values());
        values.extend(current);
        let call = call(&self.statements.save, values);
        if self.runner.write(OPERATION, call, bytes, deadline).await? {
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
            .runner
            .write_unless_taken(OPERATION, call.clone(), bytes, deadline)
            .await?
        {
            Some(true) => return Ok(Saved::Stored(counter(version))),
            Some(false) => return self.refused(OPERATION, from, now, deadline).await,
            None => {}
        }
        // What has expired does not exist, and may go.
        let expired = self.statements.delete_expired.with([to.into(), now.into()]);
        self.runner.write(OPERATION, expired, 0, deadline).await?;
        if self.runner.write(OPERATION, call, bytes, deadline).await? {
            Ok(Saved::Stored(counter(version)))
        } else {
            self.refused(OPERATION, from, now, deadline).await
        }
    }

    pub(crate) async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let call = self.statements.delete.with([key.into()]);
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
        let values = [expires_at.into(), key.into(), now.into(), expires_at.into()];
        let call = self.statements.touch.with(values);
        // Nothing was moved: the record is gone, or lives that long already.
        Ok(self.runner.write(OPERATION, call, 0, deadline).await?
            || self.is_live(OPERATION, key, now, deadline).await?)
    }

    pub(crate) async fn sessions_of(
        &self,
        owner: &Owner,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let call = |after, limit| {
            let values = [Value::text(owner.as_str()), now.into(), after, limit];
            self.statements.sessions_of.with(values)
        };
        self.walk("list an owner's sessions", page, call).await
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
        self.runner.count(OPERATION, call).await
    }

    pub(crate) async fn page(&self, page: Page) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let call = |after, limit| self.statements.page.with([after, limit]);
        self.walk("page through all sessions", page, call).await
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
        self.runner.finds(operation, call, deadline).await
    }

    /// A page of the records that `call` reads after a key. What nobody can read is passed by and left as it is: one damaged row
    /// is one session's trouble, and not that of everybody who comes after it.
    async fn walk(
        &self,
        operation: &'static str,
        page: Page,
        call: impl Fn(Value, Value) -> Call,
    ) -> Result<Vec<(StoreKey, Record)>, StoreError> {
        let Page {
            mut after, limit, ..
        } = page;
        let mut found = Vec::new();
        let mut unreadable: usize = 0;
        loop {
            let wanted = limit - found.len();
            let call = call(after_key(after.clone()), page_limit(wanted));
            let rows = self.runner.rows(operation, call).await?;
            let is_last = rows.len() < wanted;
            let before = after.clone();
            for row in &rows {
                let key = D::text(row, 0).map_err(|error| failed::<D>(operation, error))?;
                let Some(key) = StoreKey::parse(&key) else {
                    unreadable += 1;
                    continue;
                };
                after = Some(key.clone());
                match record::<D>(row, 1) {
                    Ok(record) => found.push((key, record)),
                    Err(StoreError::Damaged { .. }) => unreadable += 1,
                    Err(error) => return Err(error),
                }
            }
            // Fewer than were asked for would say that there are no more.
            if is_last || found.len() >= limit {
                if unreadable > 0 {
                    tracing::error!(
                        rows = unreadable,
                        operation,
                        "sessions that can't be read were passed by"
                    );
                }
                return Ok(found);
            }
            if after == before {
                return Err(damaged::<D>("session_key"));
            }
        }
    }
}

fn after_key(after: Option<StoreKey>) -> Value {
    after.map_or(Value::NoKey, Value::Key)
}

fn page_limit(limit: usize) -> Value {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}
