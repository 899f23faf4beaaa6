//! Who is logged in: the session says who, and Django's table of users says whether that still holds.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use session_core::django::{DjangoSettings, DjangoUser};
use session_http::Session;
use sqlx::AnyPool;

use crate::error::{Error, Result};
use crate::password;

/// Django's own backend, which finds users in `auth_user`.
const BACKEND: &str = "django.contrib.auth.backends.ModelBackend";

/// Django's table of users. Clones are the same.
#[derive(Clone)]
pub(crate) struct Users {
    pool: AnyPool,
    sql: &'static Sql,
    settings: Arc<DjangoSettings>,
}

/// Who is logged in, if anybody is: an extractor, as Django's `request.user`.
pub(crate) struct CurrentUser(pub(crate) Option<User>);

pub(crate) struct User {
    pub(crate) name: String,
}

/// What is asked of the table.
struct Sql {
    /// Name and password of who has this number.
    by_id: &'static str,
    /// Number and password of who has this name.
    by_name: &'static str,
}

const SQL: Sql = Sql {
    by_id: "SELECT username, password FROM auth_user WHERE id = $1 AND is_active",
    by_name: "SELECT CAST(id AS BIGINT), password FROM auth_user WHERE username = $1 AND is_active",
};

/// MariaDB and MySQL spell it otherwise.
const SQL_OF_MYSQL: Sql = Sql {
    by_id: "SELECT username, password FROM auth_user WHERE id = ? AND is_active",
    by_name: "SELECT CAST(id AS SIGNED), password FROM auth_user WHERE username = ? AND is_active",
};

impl Users {
    pub(crate) async fn connect(database: &str, settings: DjangoSettings) -> Result<Self> {
        sqlx::any::install_default_drivers();
        Ok(Self {
            pool: AnyPool::connect(database).await?,
            sql: match database.starts_with("mysql:") {
                true => &SQL_OF_MYSQL,
                false => &SQL,
            },
            settings: Arc::new(settings),
        })
    }

    /// Whom the session names, if Django would let them in as well. A session whose password was changed is flushed.
    async fn current(&self, session: &Session) -> Result<Option<User>> {
        let Some(user) = DjangoUser::of(session).filter(|user| user.backend() == BACKEND) else {
            return Ok(None);
        };
        let Ok(id) = user.id().as_str().parse::<i64>() else {
            return Ok(None);
        };
        let row: Option<(String, String)> = sqlx::query_as(self.sql.by_id)
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        let Some((name, password)) = row else {
            return Ok(None);
        };
        let is_theirs = user.authenticate(session, &self.settings, &password)?;
        Ok(is_theirs.then_some(User { name }))
    }

    /// The user who has this name and this password, for [`DjangoUser::log_in`].
    pub(crate) async fn with_password(
        &self,
        name: &str,
        password: String,
    ) -> Result<Option<DjangoUser>> {
        let row: Option<(i64, String)> = sqlx::query_as(self.sql.by_name)
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        // Somebody who is not there costs the same work, so that nobody learns who is.
        let stored = row
            .as_ref()
            .map_or(password::NOBODY, |(_, stored)| stored)
            .to_owned();
        let is_right =
            tokio::task::spawn_blocking(move || password::is_right(&password, &stored)).await?;
        let user =
            |(id, stored): (i64, String)| DjangoUser::new(&self.settings, id, BACKEND, &stored);
        Ok(row.filter(|_| is_right).map(user))
    }
}

impl FromRequestParts<Users> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, users: &Users) -> Result<Self> {
        let session = Session::from_request_parts(parts, users).await?;
        users.current(&session).await.map(Self)
    }
}
